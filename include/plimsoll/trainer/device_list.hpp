#pragma once
/// \file
/// Devices by name, for programs that choose one when they run.

#include <plimsoll/core/error.hpp>
#include <plimsoll/device/device.hpp>
#include <plimsoll/source/source.hpp>

#include <string>
#include <string_view>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

/// The devices that a program has been built for, the preferred one last. `<plimsoll/devices.hpp>` and
/// `<plimsoll/devices.cuh>` name theirs `Devices`; CMake's `plimsoll_use_devices(target)` chooses between the
/// two.
template <class... Device>
struct DeviceList {
    /// Calls f(std::type_identity<D>{}) with the device of that name, "host" or "cuda"; "auto" is the last
    /// one of which the machine has any, and says why that is not the preferred one.
    /// \throws argument_error naming the devices there are.
    template <class F>
    static auto with(std::string_view name, F f) {
        if (const std::string why = passed_over(); name == "auto" && !why.empty()) note(why);
        const std::string wanted(name == "auto" ? available() : name);
        return choose<F, Device...>(wanted, f);
    }

    /// Why "auto" does not take the preferred device, as in "Cuda: there is no NVIDIA GPU here ..."; empty
    /// where it does.
    static std::string passed_over() {
        std::string of_last;
        const auto tell = [&](std::string_view name, const std::string& why) {
            of_last = why.empty() ? why : text(name, ": ", why);
        };
        (tell(Device::name, why_not<Device>()), ...);
        return of_last;
    }

    /// "host", or "host, cuda".
    static std::string names() {
        std::string all;
        ((all += text(all.empty() ? "" : ", ", lower(Device::name))), ...);
        return all;
    }

  private:
    static std::string lower(std::string_view name) {
        std::string out(name);
        for (char& c : out)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        return out;
    }
    template <class D>
    static std::string why_not() {
        if constexpr (requires { D::why_unavailable(); })
            return D::why_unavailable();
        else
            return {};
    }
    static std::string available() {
        std::string last;
        ((why_not<Device>().empty() ? void(last = lower(Device::name)) : void()), ...);
        return last;
    }
    template <class F, class First, class... Rest>
    static auto choose(const std::string& name, F& f) {
        if (lower(First::name) == name) return f(std::type_identity<First>{});
        if constexpr (sizeof...(Rest) > 0)
            return choose<F, Rest...>(name, f);
        else
            throw argument_error(text("this program was not built for a device \"", name, "\": it has ",
                                      names(), " and auto"));
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
