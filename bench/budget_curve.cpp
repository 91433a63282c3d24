// Speed against budget: the network of docs/design.md, from the smallest budget that works to an
// unconstrained plan with the whole batch in one micro-batch. Every distinct plan is timed beside the others.
// Usage: budget_curve [picture.svg] [batch] [rounds]
#include "workload.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace {

using namespace workload;

/// One step of the curve: from `budget` on, until the next.
struct Point {
    Bytes budget;
    Cut cut;
    Bytes arena;
    double images_per_second = 0;
};

double mib(Bytes bytes) { return static_cast<double>(bytes.count) / (1 << 20); }

/// The plans a job gets as its budget grows, MiB by MiB.
std::vector<Point> plans(const Settings& settings) {
    using Blueprint = Job<Guide>::Blueprint;
    std::vector<Point> points;
    const auto add = [&](Bytes budget, const Cut& cut) {
        if (points.empty() || !(points.back().cut == cut))
            points.push_back({budget, cut, {Blueprint::plan(settings, cut).total}});
    };
    const Cut whole{.micro_batch = settings.batch, .lanes = std::min(settings.lanes, settings.batch)};
    const Bytes least{Blueprint::least_bytes(settings)}, most{Blueprint::plan(settings, whole).total};
    for (Bytes budget = least; budget < most;
         budget = Bytes{(budget.count / (1_MiB).count + 1) * (1_MiB).count})
        add(budget, Blueprint::choose_cut(settings, budget));
    add(most, whole);
    return points;
}

/// A step line in one self-contained picture.
std::string picture(const std::vector<Point>& points, int batch) {
    const double width = 760, height = 400, left = 64, right = 24, top = 56, bottom = 56;
    const double from = 0, to = mib(points.back().budget) * 1.08;
    double fastest = 0;
    for (const Point& point : points) fastest = std::max(fastest, point.images_per_second);
    const double high = fastest * 1.15;
    const auto x = [&](double value) { return left + (value - from) / (to - from) * (width - left - right); };
    const auto y = [&](double value) { return height - bottom - value / high * (height - top - bottom); };
    char line[512];
    std::string svg;
    const auto put = [&](const char* format, auto... values) {
        std::snprintf(line, sizeof line, format, values...);
        svg += line;
    };
    put("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" font-family=\"sans-serif\" "
        "font-size=\"12\" fill=\"#333\">\n<rect width=\"%g\" height=\"%g\" fill=\"#fff\"/>\n",
        width, height, width, height);
    put("<text x=\"%g\" y=\"24\" font-size=\"15\" font-weight=\"bold\">Speed against budget: batch %d, "
        "full data, Float, Adam</text>\n",
        left, batch);
    put("<text x=\"%g\" y=\"42\" fill=\"#666\">Plans that the planner chooses, and the whole batch at once. "
        "Labels: images in a micro-batch.</text>\n",
        left);
    for (double tick = 0; tick <= high; tick += 25) {
        put("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#e4e4e4\"/>\n", left,
            width - right, y(tick), y(tick));
        put("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", left - 8, y(tick) + 4, tick);
    }
    for (double tick = 0; tick <= to; tick += 50)
        put("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n", x(tick), height - bottom + 18,
            tick);
    put("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">budget, MiB</text>\n", (left + width - right) / 2,
        height - 14);
    put("<text transform=\"translate(18 %.1f) rotate(-90)\" text-anchor=\"middle\">images a second, "
        "training</text>\n",
        (top + height - bottom) / 2);
    const double least = mib(points.front().budget);
    put("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#f3e9e2\"/>\n", left, top,
        x(least) - left, height - top - bottom);
    put("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#9a5b36\">refused</text>\n",
        (left + x(least)) / 2, (top + height - bottom) / 2);
    svg += "<path fill=\"none\" stroke=\"#0072b2\" stroke-width=\"2\" d=\"";
    for (std::size_t p = 0; p < points.size(); ++p) {
        const double end = p + 1 < points.size() ? mib(points[p + 1].budget) : to;
        put("%s%.1f %.1f H%.1f", p == 0 ? "M" : " L", x(mib(points[p].budget)),
            y(points[p].images_per_second), x(end));
    }
    svg += "\"/>\n";
    double labelled = -100;
    for (const Point& point : points) {
        const double at = x(mib(point.budget)), up = y(point.images_per_second);
        put("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"#0072b2\"><title>%.2f MiB: "
            "micro-batches of %d, lanes: %d, %.1f images/s</title></circle>\n",
            at, up, mib(point.budget), point.cut.micro_batch, point.cut.lanes, point.images_per_second);
        if (at - labelled < 26) continue;
        put("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%d</text>\n", at, up - 9,
            point.cut.micro_batch);
        labelled = at;
    }
    put("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#333\"/>\n</svg>\n", left,
        width - right, height - bottom, height - bottom);
    return svg;
}

} // namespace

int main(int count, char** arguments) {
    const int batch = count > 2 ? std::max(std::atoi(arguments[2]), 1) : 128;
    const int rounds = count > 3 ? std::max(std::atoi(arguments[3]), 1) : 9;
    const Settings settings{.batch = batch, .threads = Host().workers()};
    std::vector<Point> points = plans(settings);
    std::vector<Cut> cuts;
    for (const Point& point : points) cuts.push_back(point.cut);
    const std::vector<double> seconds = step_seconds<Guide>(settings, cuts, rounds);
    std::printf("%12s %10s %12s %6s %12s %10s %10s\n", "budget MiB", "arena MiB", "micro-batch", "lanes",
                "slice bytes", "images/s", "of the last");
    for (std::size_t p = 0; p < points.size(); ++p) {
        Point& point = points[p];
        point.images_per_second = batch / seconds[p];
        std::printf("%12.2f %10.2f %12d %6d %12lld %10.1f %10.3f\n", mib(point.budget), mib(point.arena),
                    point.cut.micro_batch, point.cut.lanes, static_cast<long long>(point.cut.slice_bytes),
                    point.images_per_second, seconds.back() / seconds[p]);
    }
    if (count > 1) std::ofstream(arguments[1]) << picture(points, batch);
}
