#include "weft/candidates.h"

#include <algorithm>
#include <bit>
#include <string>

#include "cpu/buffer.h"

namespace weft {
namespace {

// One bit per passage.
class PassageSet {
 public:
  explicit PassageSet(std::int64_t n_passages)
      : words_(static_cast<std::size_t>((n_passages + 63) / 64)) {}

  void add(std::uint32_t pid) { words_[pid / 64] |= std::uint64_t{1} << (pid % 64); }

  // Ascending, less those that are not allowed.
  void write(const std::uint8_t* allowed, std::vector<std::uint32_t>* found) const {
    found->clear();
    for (std::size_t w = 0; w < words_.size(); ++w) {
      for (std::uint64_t word = words_[w]; word != 0; word &= word - 1) {
        const auto pid = static_cast<std::uint32_t>(w * 64 + std::countr_zero(word));
        if (allowed == nullptr || allowed[pid] != 0) found->push_back(pid);
      }
    }
  }

 private:
  std::vector<std::uint64_t> words_;
};

Status not_below(const char* name, std::int64_t value, std::int64_t bound) {
  return Status::invalid_value(std::string(name) + ": " + std::to_string(value) +
                               " is not below " + std::to_string(bound));
}

Status add_list(const InvertedLists& lists, std::size_t list, std::int64_t n_passages,
                PassageSet* set) {
  const std::int64_t begin = lists.offsets[list];
  const std::int64_t end = lists.offsets[list + 1];
  const auto n_pids = static_cast<std::int64_t>(lists.pids.size());
  if (begin < 0 || begin > end || end > n_pids) {
    return Status::invalid_value("ivf_offsets: list " + std::to_string(list) + " is [" +
                                 std::to_string(begin) + ", " + std::to_string(end) + ") of " +
                                 std::to_string(n_pids) + " pids");
  }
  for (std::int64_t i = begin; i < end; ++i) {
    const std::uint32_t pid = lists.pids[static_cast<std::size_t>(i)];
    if (pid >= n_passages) return not_below("ivf_pids", pid, n_passages);
    set->add(pid);
  }
  return {};
}

// The list of a centroid, or the number of lists where it has none.
std::size_t list_of(const InvertedLists& lists, std::uint32_t centroid) {
  if (lists.dense) return centroid;
  const auto place = std::lower_bound(lists.numbers.begin(), lists.numbers.end(), centroid);
  if (place == lists.numbers.end() || *place != centroid) return lists.numbers.size();
  return static_cast<std::size_t>(place - lists.numbers.begin());
}

Status check_numbers(const InvertedLists& lists) {
  bool increasing = true;
  for (std::size_t i = 1; i < lists.numbers.size(); ++i) {
    increasing &= lists.numbers[i - 1] < lists.numbers[i];
  }
  if (increasing) return {};
  return Status::invalid_value("ivf_centroids: must be strictly increasing");
}

Status gather(std::vector<std::uint32_t> probes, const InvertedLists& lists,
              std::int64_t n_passages, const std::uint8_t* allowed,
              std::vector<std::uint32_t>* found) {
  std::sort(probes.begin(), probes.end());
  probes.erase(std::unique(probes.begin(), probes.end()), probes.end());
  const std::size_t n_lists = lists.offsets.size() - 1;
  if (lists.dense && !probes.empty() && probes.back() >= n_lists) {
    return not_below("probes", probes.back(), static_cast<std::int64_t>(n_lists));
  }
  PassageSet set(n_passages);
  for (const std::uint32_t probe : probes) {
    const std::size_t list = list_of(lists, probe);
    if (list == n_lists) continue;
    if (Status status = add_list(lists, list, n_passages, &set); !status.ok()) return status;
  }
  set.write(allowed, found);
  return {};
}

}  // namespace

Status candidates(std::span<const std::uint32_t> probes, const InvertedLists& lists,
                  std::int64_t n_passages, const std::uint8_t* allowed,
                  std::vector<std::uint32_t>* found) {
  if (Status status = check_numbers(lists); !status.ok()) return status;
  return cpu::without_exceptions([&] {
    return gather({probes.begin(), probes.end()}, lists, n_passages, allowed, found);
  });
}

}  // namespace weft
