// Residuals: packing of bucket codes, compression, decompression.
//
// Packed rows: element d of a row starts at bit d * bits, least significant bit first; a row is
// ceil(dim * bits / 8) bytes and ends in zero bits. bits is 1, 2, 4 or 8.
#pragma once

#include <span>

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// Bytes of a packed row.
inline std::int64_t bytes_per_row(std::int64_t dim, int bits) { return (dim * bits + 7) / 8; }

// bucket_codes uint8 [n, dim] -> packed uint8 [n, bytes_per_row]. Invalid value: a code needs
// more than `bits` bits.
Status pack(const Matrix<std::uint8_t>& bucket_codes, int bits, std::uint8_t* packed);

// packed uint8 [n, bytes_per_row(dim, bits)] -> bucket_codes uint8 [n, dim].
Status unpack(const Matrix<std::uint8_t>& packed, int bits, std::int64_t dim,
              std::uint8_t* bucket_codes);

// The residual of each embedding against its centroid, one bucket per component: the number of
// cutoffs that it reaches; and 1 / |centroid + weights| as a byte.
//   embeddings      float32 or float16 [n, dim], dim 1 to kMaxDim; invalid value: holds NaN or
//                   infinity
//   centroids       float32 [K, dim]; invalid value: NaN or infinity where a code points
//   codes           uint16 or uint32 [n]; invalid value: not below K
//   cutoffs         float32 [2^bits - 1], finite, ascending
//   residuals       uint8 [n, bytes_per_row], written in full
//   inverse_norms   uint8 [n]
// Every target writes the same bytes.
Status compress(const Embeddings& embeddings, const Matrix<float>& centroids,
                const Codes& codes, std::span<const float> cutoffs, const Buckets& buckets,
                int threads, std::uint8_t* residuals, std::uint8_t* inverse_norms);

// embeddings[i] = (centroids[code] + weights) * inverse norm, float32 [n, dim].
// Every target writes the same bits. Invalid value: a code is not below K.
Status decompress(const CodedTokens& tokens, const Matrix<float>& centroids,
                  const Buckets& buckets, int threads, float* embeddings);

}  // namespace weft
