// What a plan shows of itself: the picture holds the plan, and its files are well formed.
#include "support.hpp"

#include <plimsoll/plimsoll.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

using namespace plimsoll;

namespace {

/// Its name must not become markup.
struct Tricky {
    static constexpr Facts facts(Shape in) {
        return {.name = "<Soft & \"sign\">",
                .output = in,
                .backward_reads_output = true,
                .in_place = true,
                .flops = 0};
    }
    struct Forward {
        PLIMSOLL_HD float operator()(float x) const { return x; }
    };
    struct Backward {
        PLIMSOLL_HD float operator()(float dy, float) const { return dy; }
    };
};

using Coupled =
    Sequential<Image<16, 16, 3>, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Tricky,
               Residual<Sequential<Conv2d<8, 3, 1, 1>, BatchNorm, Relu>, Sequential<Conv2d<8, 1>, BatchNorm>>,
               Relu, MaxPool<2>, Flatten, Dropout<0.5_p>, Dense<10>>;
using Plain = Sequential<Image<8, 8, 1>, Conv2d<4, 3>, Relu, MaxPool<2>, Flatten, Dense<3>>;

template <class Net>
using Job = Trainer<Net, InMemory<u8>, Float, Host>;

std::size_t count(std::string_view whole, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = whole.find(part, at)) != std::string_view::npos; at += part.size())
        ++found;
    return found;
}

/// What is wrong with a document as XML: tags that do not match, bare signs, attributes without quotes.
std::string fault(std::string_view document) {
    std::vector<std::string> open;
    const auto plain = [](std::string_view words) {
        for (std::size_t i = 0; i < words.size(); ++i) {
            if (words[i] == '>' || words[i] == '<') return false;
            if (words[i] != '&') continue;
            const std::string_view rest = words.substr(i, 6);
            if (rest.substr(0, 5) != "&amp;" && rest.substr(0, 4) != "&lt;" && rest.substr(0, 4) != "&gt;" &&
                rest != "&quot;")
                return false;
        }
        return true;
    };
    if (document.substr(0, 15) == "<!DOCTYPE html>") document.remove_prefix(15);
    while (!document.empty()) {
        const std::size_t begin = document.find('<');
        const bool css = !open.empty() && open.back() == "style";
        if (!css && !plain(document.substr(0, begin)))
            return "bare sign in: " + std::string(document.substr(0, begin));
        if (begin == std::string_view::npos) break;
        const std::size_t end = document.find('>', begin);
        if (end == std::string_view::npos) return "unended tag";
        std::string_view tag = document.substr(begin + 1, end - begin - 1);
        document.remove_prefix(end + 1);
        const std::string name(tag.substr(0, tag.find_first_of(" /", 1)));
        if (tag.front() == '/') {
            if (open.empty() || "/" + open.back() != tag) return "unexpected <" + std::string(tag) + ">";
            open.pop_back();
            continue;
        }
        if (count(tag, "\"") % 2 != 0 || !plain(tag) || count(tag, "=\"") * 2 != count(tag, "\"") ||
            count(tag, "=") != count(tag, "=\""))
            return "attributes of <" + std::string(tag) + ">";
        if (tag.back() != '/') open.push_back(name);
    }
    return open.empty() ? "" : "unclosed <" + open.back() + ">";
}

template <class Net>
std::vector<PlanReport> reports() {
    const Bytes least = {Job<Net>::Blueprint::least_bytes({.batch = 6})};
    return {plan<Job<Net>>({.batch = 6}), plan<Job<Net>>({.batch = 6, .budget = least}),
            plan<Job<Net>>({.batch = 6, .budget = least + least, .threads = 2, .lanes = 3}),
            plan<Predictor<Net, Float, Host>>({.batch = 6})};
}

template <class Net>
void check_blocks() {
    using Plan = typename Job<Net>::Blueprint;
    const Settings settings{.batch = 6, .lanes = 3};
    const auto made = Plan::choose_plan(settings, std::int64_t{1} << 40, 0);
    const PlanPicture picture = plan_report<Plan>(made->view(), settings).picture;
    CHECK(picture.total == made->total);
    REQUIRE(picture.stages.size() == static_cast<std::size_t>(made->stages.size()));
    std::multiset<std::string> parts, blocks;
    for (const Part& part : made->parts)
        if (part.extent != Extent::slice)
            parts.insert(text(static_cast<int>(part.role), " ", part.offset, " ", part.bytes, " ", part.first,
                              " ", part.last));
    for (const PlanBlock& block : picture.blocks)
        blocks.insert(text(static_cast<int>(block.role), " ", block.offset, " ", block.bytes, " ",
                           block.first, " ", block.last));
    CHECK(parts == blocks); // every part once
    for (const PlanBlock& a : picture.blocks) {
        CHECK_FALSE(a.name.empty());
        CHECK_FALSE(a.label.empty());
        CHECK(a.offset + a.bytes <= picture.total);
        CHECK(a.first <= a.last);
        CHECK(static_cast<std::size_t>(a.last) < picture.stages.size());
        for (const PlanBlock& b : picture.blocks)
            if (&a < &b && a.first <= b.last && b.first <= a.last)
                CHECK((a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset));
    }
}

template <class Net>
void check_files() {
    for (const PlanReport& report : reports<Net>()) {
        const std::string svg = detail::draw(report.picture), page = detail::page(report.picture);
        CHECK(fault(svg) == "");
        CHECK(fault(page) == "");
        CHECK(page.find(svg) != std::string::npos);
        CHECK(count(svg, "class=\"part\"") == report.picture.blocks.size() +
                                                  (report.picture.unplanned.empty() ? 0u : 1u) +
                                                  report.picture.unplanned.size());
        for (const PlanBlock& block : report.picture.blocks)
            CHECK(support::contains(svg, text("<title>", detail::escaped(block.name), "\n",
                                              detail::grouped(block.bytes), " B (")));
        CHECK(count(svg, "load line") == (report.picture.budget > 0 ? 2u : 0u)); // in the title and beside it
    }
}

} // namespace

TEST_CASE("a plan's picture holds every part once, at its address and for its life") {
    check_blocks<Coupled>();
    check_blocks<Plain>();
}

TEST_CASE("what is made a second time is said to be") {
    using Plan = Job<Plain>::Blueprint;
    auto changed =
        std::make_unique<plimsoll::Plan<Plan::nodes>>(*Plan::choose_plan({.batch = 6}, 1 << 30, 0));
    const auto part = std::find_if(changed->parts.begin(), changed->parts.end(), [](const Part& candidate) {
        return candidate.role == Role::activation && candidate.extent == Extent::batch;
    });
    REQUIRE(part != changed->parts.end());
    const Part twin = *part;
    changed->parts.push(twin);
    const auto stage =
        std::find_if(changed->stages.begin(), changed->stages.end(), [&](const Stage& candidate) {
            return changed->steps[candidate.first_step].phase == Phase::forward;
        });
    REQUIRE(stage != changed->stages.end());
    stage->training_only = true;
    const PlanPicture picture = plan_report<Plan>(changed->view(), {.batch = 6}).picture;
    CHECK(count(text(picture.blocks.back().name, "\n"), ", again\n") == 1);
    const auto index = static_cast<std::size_t>(stage - changed->stages.begin());
    CHECK(picture.stages[index].name.substr(0, 13) == "forward again");
    CHECK(count(detail::draw(picture), picture.stages[index].label + " again<title>") == 1);
}

TEST_CASE("pictures and pages are well formed, and each part tells its name and bytes") {
    CHECK(fault("<a b=\"&amp;\"><c/>x &lt; y</a>") == "");
    for (const char* broken :
         {"<a>", "<a></b>", "<a>&</a>", "<a b=\"<\"></a>", "<a b=\"x></a>", "a > b", "<a b=c/>"})
        CHECK(fault(broken) != "");
    check_files<Coupled>();
    check_files<Plain>();
    CHECK(support::contains(detail::draw(plan<Job<Coupled>>({.batch = 6}).picture),
                            "output of 2 &lt;Soft &amp; &quot;sign&quot;&gt;"));
}

TEST_CASE("a load line far above the arena says that it is not to scale") {
    const Bytes peak = peak_bytes<Job<Plain>>({.batch = 6});
    const auto drawn = [](Bytes budget) {
        return detail::draw(plan<Job<Plain>>({.batch = 6, .budget = budget}).picture);
    };
    CHECK(count(drawn(peak), "not to scale") == 0);
    CHECK(count(drawn(peak + peak), "not to scale") == 1);
}

TEST_CASE("what everything kept would take: the layers as written, for the whole batch") {
    const Settings settings{.batch = 6, .budget = {Job<Plain>::Blueprint::least_bytes({.batch = 6})}};
    const PlanPicture picture = plan<Job<Plain>>(settings).picture;
    const std::int64_t weights = 4 * (4 * 9 + 4 + 3 * 36 + 3);
    // Conv2d and Relu 6x6x4, MaxPool 3x3x4, Dense 3, and the loss's probabilities.
    const std::int64_t outputs = 6 * 4 * (2 * 144 + 36 + 3), loss = 6 * 4 * 3;
    std::vector<std::int64_t> bytes;
    for (const KeptBytes& kept : picture.unplanned) bytes.push_back(kept.bytes);
    REQUIRE(bytes.size() == 6);
    CHECK(bytes[0] == weights);
    CHECK(bytes[1] == weights);
    CHECK(bytes[2] == 2 * weights);
    CHECK(bytes[3] == 6 * 64 * 4);
    CHECK(bytes[4] == outputs + loss);
    CHECK(bytes[5] == outputs + loss);
    CHECK(plan<Predictor<Plain, Float, Host>>({.batch = 6}).picture.unplanned.empty());
}

TEST_CASE("the picture of a plan needs no data and is the job's own") {
    const InMemory<u8> pictures(std::vector<u8>(640), {8, 8, 1}, std::vector<Label>(10, 1));
    const Settings settings{.batch = 6, .budget = 1_MiB};
    const Job<Plain> job{pictures, settings};
    const PlanReport planned = plan<Job<Plain>>(settings);
    CHECK(detail::page(job.plan().picture) == detail::page(planned.picture));
    CHECK(planned.picture.total == job.peak().count);
    CHECK(support::contains(
        support::message_of<budget_error>([] { return plan<Job<Plain>>({.batch = 6, .budget = 64_B}); }),
        "this job needs at least"));
}

TEST_CASE("a plan's files are written whole, and failures name the path") {
    const support::TemporaryFolder folder;
    const PlanReport report = plan<Job<Plain>>({.batch = 6});
    report.write_svg(folder / "plan.svg");
    report.write_html(folder / "plan.html");
    CHECK(read_all(folder / "plan.svg") == detail::draw(report.picture));
    CHECK(read_all(folder / "plan.html") == detail::page(report.picture));
    const std::string nowhere = folder / "missing/plan.svg";
    CHECK(support::contains(support::message_of<io_error>([&] { report.write_svg(nowhere); }), nowhere));
    CHECK(support::contains(support::message_of<io_error>([&] { report.write_html(nowhere); }), nowhere));
}
