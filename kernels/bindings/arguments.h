// The arguments that several bindings share: each taken, checked and given as what the kernels ask.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <string>

#include "bindings/arrays.h"
#include "cpu/finite.h"
#include "weft/arrays.h"
#include "weft/residual.h"
#include "weft/targets.h"

namespace weft::bindings {

inline constexpr std::int64_t kMostNumbers = 0xFFFFFFFF;  // pids, codes and indices are uint32

inline std::int64_t in_range(const char* name, std::int64_t value, std::int64_t low,
                             std::int64_t high) {
  if (low <= value && value <= high) return value;
  raise_value(std::string(name) + ": must lie in [" + std::to_string(low) + ", " +
              std::to_string(high) + "], got " + std::to_string(value));
}

// Never 0: the default is looked up while the GIL is held.
inline int usable_threads(std::int64_t threads) {
  int usable = static_cast<int>(in_range("threads", threads, 0, kMaxThreads));
  if (usable == 0) check(default_threads(&usable));
  return usable;
}

inline int usable_bits(std::int64_t bits) {
  if (bits != 1 && bits != 2 && bits != 4 && bits != 8) {
    raise_value("bits: must be 1, 2, 4 or 8, got " + std::to_string(bits));
  }
  return static_cast<int>(bits);
}

template <typename T>
Matrix<T> matrix(const Array& array) {
  return {array.data<T>(), array.length(0), array.length(1)};
}

template <typename T>
std::span<const T> list(const Array& array) {
  return {array.data<T>(), static_cast<std::size_t>(array.size())};
}

inline void require_finite(const Array& array) {
  if (!cpu::all_finite(array.data<float>(), array.size())) {
    raise_value(array.name() + ": holds NaN or infinity");
  }
}

template <typename... Types>
inline Array take_vectors(const char* name, nb::handle object) {
  Array array = Array::take<Types...>(name, object, 2);
  if (array.length(1) < 1 || array.length(1) > kMaxDim) {
    raise_value(std::string(name) + ": dim must lie in [1, " + std::to_string(kMaxDim) +
                "], got " + std::to_string(array.length(1)));
  }
  return array;
}

inline Embeddings embeddings_of(const Array& array) {
  Embeddings embeddings{nullptr, nullptr, array.length(0), array.length(1)};
  if (array.holds<float>()) embeddings.floats = array.data<float>();
  if (array.holds<Half>()) embeddings.halves = array.data<std::uint16_t>();
  return embeddings;
}

inline Array take_query(nb::handle object) {
  Array query = take_vectors<float>("query", object);
  if (query.length(0) < 1) raise_value("query: expected at least one vector, got 0");
  require_finite(query);
  return query;
}

inline Array take_scores(nb::handle object) {
  Array scores = Array::take<float>("scores", object, 2);
  if (scores.length(1) < 1 || scores.length(1) > kMaxColumns) {
    raise_value("scores: columns must lie in [1, " + std::to_string(kMaxColumns) + "], got " +
                std::to_string(scores.length(1)));
  }
  in_range("scores", scores.length(0), 0, kMostNumbers);
  return scores;
}

inline Array take_centroids(nb::handle object) {
  Array centroids = take_vectors<float>("centroids", object);
  in_range("centroids", centroids.length(0), 0, kMostNumbers);
  return centroids;
}

inline Array take_codes(nb::handle object) {
  return Array::take<std::uint16_t, std::uint32_t>("codes", object, 1);
}

inline Codes codes_of(const Array& array) {
  if (array.holds<std::uint16_t>()) return {array.data<std::uint16_t>(), nullptr, array.size()};
  return {nullptr, array.data<std::uint32_t>(), array.size()};
}

// The two arrays that choose passages.
class PassageArrays {
 public:
  PassageArrays(nb::handle offsets, nb::handle pids)
      : offsets_(Array::take<std::int64_t>("offsets", offsets, 1)) {
    if (offsets_.size() < 1) raise_value("offsets: expected at least one");
    if (!pids.is_none()) pids_ = Array::take<std::uint32_t>("pids", pids, 1);
  }

  // An empty list of pids still is a list: a null pointer would mean all passages.
  Passages view() const {
    static constexpr std::uint32_t kNone = 0;
    if (!pids_) return {list<std::int64_t>(offsets_), nullptr, 0};
    const auto* pids = pids_->size() > 0 ? pids_->data<std::uint32_t>() : &kNone;
    return {list<std::int64_t>(offsets_), pids, pids_->size()};
  }

 private:
  Array offsets_;
  std::optional<Array> pids_;
};

// Bucket weights and the range of the inverse norms.
class BucketArrays {
 public:
  BucketArrays(nb::handle weights, nb::handle range)
      : weights_(Array::take<float>("bucket_weights", weights, 1)) {
    require_finite(weights_);
    bits_ = weights_.size() == 2 ? 1 : weights_.size() == 4 ? 2 : weights_.size() == 16 ? 4 : 8;
    if (weights_.size() != std::int64_t{1} << bits_) {
      raise_value("bucket_weights: expected 2, 4, 16 or 256, got " +
                  std::to_string(weights_.size()));
    }
    if (nb::len(range) != 2) raise_value("inverse_norm_range: expected two numbers");
    low_ = nb::cast<double>(range[0]);
    high_ = nb::cast<double>(range[1]);
    if (!(std::isfinite(high_ - low_) && low_ <= high_)) {
      raise_value("inverse_norm_range: not a range of finite numbers: (" + std::to_string(low_) +
                  ", " + std::to_string(high_) + ")");
    }
  }

  Buckets view() const { return {list<float>(weights_), bits_, low_, high_}; }
  int bits() const { return bits_; }

 private:
  Array weights_;
  int bits_ = 0;
  double low_ = 0;
  double high_ = 0;
};

// The three arrays of a coded segment's tokens.
class CodedArrays {
 public:
  CodedArrays(nb::handle codes, nb::handle residuals, nb::handle inverse_norms, std::int64_t dim,
              int bits)
      : codes_(take_codes(codes)),
        residuals_(Array::take<std::uint8_t>("residuals", residuals, 2)),
        inverse_norms_(Array::take<std::uint8_t>("inverse_norms", inverse_norms, 1)) {
    residuals_.require_length(0, codes_.size(), "rows, one per code");
    residuals_.require_length(1, bytes_per_row(dim, bits), "bytes per row");
    inverse_norms_.require_length(0, codes_.size(), "bytes, one per code");
  }

  CodedTokens view() const {
    return {codes_of(codes_), matrix<std::uint8_t>(residuals_),
            list<std::uint8_t>(inverse_norms_)};
  }
  std::int64_t size() const { return codes_.size(); }

 private:
  Array codes_;
  Array residuals_;
  Array inverse_norms_;
};

inline void check_cutoffs(const Array& cutoffs, int bits) {
  cutoffs.require_length(0, (std::int64_t{1} << bits) - 1, "cutoffs");
  require_finite(cutoffs);
  const auto values = list<float>(cutoffs);
  if (!std::is_sorted(values.begin(), values.end())) {
    raise_value("bucket_cutoffs: must not decrease");
  }
}

}  // namespace weft::bindings
