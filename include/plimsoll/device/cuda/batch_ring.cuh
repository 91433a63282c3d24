#pragma once
/// \file
/// The batch ring of a GPU: readers fill pinned host memory, a stream of its own carries it over.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/batch_ring.hpp>
#include <plimsoll/device/cuda/cuda.cuh>

#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// As many pinned slots as the ring has, in one allocation. Pixels cross the bus as they are stored; the
/// device widens them.
template <>
class BatchRing<Cuda> {
  public:
    /// \throws device_error naming the bytes of pinned memory that the host does not give.
    BatchRing(Cuda& device, std::vector<RingSlot> slots)
        : device_(device), slots_(std::move(slots)), stream_(detail::make_stream()) {
        for (const RingSlot& slot : slots_) host_bytes_ += pixel_bytes(slot) + label_bytes(slot);
        const cudaError_t status = cudaHostAlloc(reinterpret_cast<void**>(pinned_.out()),
                                                 static_cast<std::size_t>(host_bytes_), cudaHostAllocDefault);
        detail::check(status, text("pinning ", host_bytes_, " B (", to_string(Bytes{host_bytes_}),
                                   ") of host memory for the batch ring"));
        std::byte* at = pinned_.get();
        for (const RingSlot& slot : slots_) {
            RingSlot host = slot;
            host.pixels = at;
            host.labels = reinterpret_cast<Label*>(at + pixel_bytes(slot));
            at += pixel_bytes(slot) + label_bytes(slot);
            hosts_.push_back(host);
            sent_.push_back(detail::make_event());
            read_.push_back(detail::make_event());
        }
    }
    BatchRing(const BatchRing&) = delete;
    BatchRing& operator=(const BatchRing&) = delete;
    ~BatchRing() {
        static_cast<void>(cudaStreamSynchronize(stream_.get()));
    } // the memory is in use till then

    [[nodiscard]] int size() const { return static_cast<int>(slots_.size()); }
    [[nodiscard]] RingSlot host(int slot) const { return hosts_[static_cast<std::size_t>(slot)]; }
    [[nodiscard]] std::int64_t host_bytes() const { return host_bytes_; }

    void send(int number, int images) {
        const auto n = static_cast<std::size_t>(number);
        const RingSlot &to = slots_[n], &from = hosts_[n];
        detail::check(cudaStreamWaitEvent(stream_.get(), read_[n].get(), 0), "cudaStreamWaitEvent");
        copy(to.pixels, from.pixels, to.image_bytes * images);
        copy(to.labels, from.labels, std::int64_t{images} * static_cast<std::int64_t>(sizeof(Label)));
        detail::check(cudaEventRecord(sent_[n].get(), stream_.get()), "cudaEventRecord");
        detail::check(cudaStreamWaitEvent(device_.stream(), sent_[n].get(), 0), "cudaStreamWaitEvent");
    }
    void wait_sent(int number) {
        detail::check(cudaEventSynchronize(sent_[static_cast<std::size_t>(number)].get()),
                      "waiting for a copy to the GPU");
    }
    void passes_begun(int number) {
        detail::check(cudaEventRecord(read_[static_cast<std::size_t>(number)].get(), device_.stream()),
                      "cudaEventRecord");
    }

  private:
    static std::int64_t pixel_bytes(const RingSlot& slot) { return aligned(slot.image_bytes * slot.images); }
    static std::int64_t label_bytes(const RingSlot& slot) {
        return aligned(std::int64_t{slot.images} * static_cast<std::int64_t>(sizeof(Label)));
    }
    void copy(void* to, const void* from, std::int64_t bytes) const {
        detail::check(
            cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream_.get()),
            "cudaMemcpyAsync");
    }
    static cudaError_t give_back(std::byte* data) { return cudaFreeHost(data); }

    Cuda& device_;
    std::vector<RingSlot> slots_, hosts_;
    std::int64_t host_bytes_ = 0;
    detail::Owned<std::byte*, give_back> pinned_;
    std::vector<detail::CudaEvent> sent_, read_; ///< of each slot: copied; read by passes
    detail::CudaStream stream_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
