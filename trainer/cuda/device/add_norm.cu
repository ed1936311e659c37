// What runs through a transformer's layers, added to and normed in one pass. Defined: DELTA and NORMAL, the
// types of what is added and of what is normed, and FOURS, how many groups of four values a lane holds.

typedef DELTA D;
typedef NORMAL T;
constexpr int kFours = FOURS;

// Sums of two numbers over the lanes of a warp, in all of them.
__device__ inline void over_warp(float& a, float& b) {
  for (int distance = 16; distance > 0; distance /= 2) {
    a += __shfl_xor_sync(0xffffffffU, a, distance);
    b += __shfl_xor_sync(0xffffffffU, b, distance);
  }
}

// Four values of a row that a lane has at once.
template <typename T>
struct alignas(4 * sizeof(T)) Four {
  T values[4];
};

constexpr int kNormWarps = 4;  // of a block: as many rows at once

// sum = x + delta; normal = (sum − mean) / √(variance + ε) · weight + bias, over each row. A warp for a row,
// of which each lane holds kFours fours. Layer norm: Ba, Kiros, Hinton 2016.
extern "C" __global__ void add_norm(const float* x, const D* delta, const float* weight, const float* bias,
                                    float* sum, T* normal, float* means, float* inverses, I64 rows, int width,
                                    float epsilon) {
  const int lane = threadIdx.x % 32;
  const int fours = width / 4;
  for (I64 row = static_cast<I64>(blockIdx.x) * kNormWarps + threadIdx.x / 32; row < rows;
       row += static_cast<I64>(gridDim.x) * kNormWarps) {
    float values[kFours][4];
    float total = 0, none = 0;
    for (int i = 0; i < kFours; ++i) {
      const int at = i * 32 + lane;
      if (at >= fours) continue;
      const Four<Float32> left = reinterpret_cast<const Four<Float32>*>(x + row * width)[at];
      const Four<D> right = reinterpret_cast<const Four<D>*>(delta + row * width)[at];
      Four<Float32> both;
      for (int j = 0; j < 4; ++j) {
        values[i][j] = left.values[j].value + right.values[j].wide();
        both.values[j].value = values[i][j];
        total += values[i][j];
      }
      reinterpret_cast<Four<Float32>*>(sum + row * width)[at] = both;
    }
    over_warp(total, none);
    const float mean = total / width;
    float squares = 0;
    for (int i = 0; i < kFours; ++i) {
      if (i * 32 + lane >= fours) continue;
      for (int j = 0; j < 4; ++j) squares += (values[i][j] - mean) * (values[i][j] - mean);
    }
    over_warp(squares, none);
    const float inverse = rsqrtf(squares / width + epsilon);
    for (int i = 0; i < kFours; ++i) {
      const int at = i * 32 + lane;
      if (at >= fours) continue;
      const Four<Float32> factor = reinterpret_cast<const Four<Float32>*>(weight)[at];
      const Four<Float32> offset = reinterpret_cast<const Four<Float32>*>(bias)[at];
      Four<T> result;
      for (int j = 0; j < 4; ++j)
        result.values[j] =
            T::of((values[i][j] - mean) * inverse * factor.values[j].value + offset.values[j].value);
      reinterpret_cast<Four<T>*>(normal + row * width)[at] = result;
    }
    if (lane == 0) {
      means[row] = mean;
      inverses[row] = inverse;
    }
  }
}

// d_x = d_sum + what comes back through the norm; d_delta the same in delta's type. `partial` [blocks, 2,
// width]: each block's sums of d_weight and d_bias, in a fixed order. d_sum may be null: zeros.
extern "C" __global__ void add_norm_backward(const float* d_sum, const T* d_normal, const float* sum,
                                             const float* weight, const float* means, const float* inverses,
                                             float* d_x, D* d_delta, float* partial, I64 rows, int width) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int fours = width / 4;
  float d_weight[kFours][4] = {}, d_bias[kFours][4] = {};
  for (I64 row = static_cast<I64>(blockIdx.x) * kNormWarps + warp; row < rows;
       row += static_cast<I64>(gridDim.x) * kNormWarps) {
    const float mean = means[row], inverse = inverses[row];
    float scaled[kFours][4], normed[kFours][4];
    float of_scaled = 0, of_product = 0;
    for (int i = 0; i < kFours; ++i) {
      const int at = i * 32 + lane;
      if (at >= fours) continue;
      const Four<T> gradient = reinterpret_cast<const Four<T>*>(d_normal + row * width)[at];
      const Four<Float32> value = reinterpret_cast<const Four<Float32>*>(sum + row * width)[at];
      const Four<Float32> factor = reinterpret_cast<const Four<Float32>*>(weight)[at];
      for (int j = 0; j < 4; ++j) {
        const float g = gradient.values[j].wide();
        normed[i][j] = (value.values[j].value - mean) * inverse;
        scaled[i][j] = g * factor.values[j].value;
        d_weight[i][j] += g * normed[i][j];
        d_bias[i][j] += g;
        of_scaled += scaled[i][j];
        of_product += scaled[i][j] * normed[i][j];
      }
    }
    over_warp(of_scaled, of_product);
    of_scaled /= width;
    of_product /= width;
    for (int i = 0; i < kFours; ++i) {
      const int at = i * 32 + lane;
      if (at >= fours) continue;
      Four<Float32> result = {};
      if (d_sum != nullptr) result = reinterpret_cast<const Four<Float32>*>(d_sum + row * width)[at];
      Four<D> narrow;
      for (int j = 0; j < 4; ++j) {
        result.values[j].value += inverse * (scaled[i][j] - of_scaled - normed[i][j] * of_product);
        narrow.values[j] = D::of(result.values[j].value);
      }
      reinterpret_cast<Four<Float32>*>(d_x + row * width)[at] = result;
      reinterpret_cast<Four<D>*>(d_delta + row * width)[at] = narrow;
    }
  }
  extern __shared__ float
      block_sums[];  // [2, width]; warps add in turn, so that the order is always the same
  for (int turn = 0; turn < kNormWarps; ++turn) {
    __syncthreads();
    if (turn != warp) continue;
    for (int i = 0; i < kFours; ++i) {
      const int at = i * 32 + lane;
      if (at >= fours) continue;
      for (int j = 0; j < 4; ++j) {
        block_sums[4 * at + j] = (turn > 0 ? block_sums[4 * at + j] : 0) + d_weight[i][j];
        block_sums[width + 4 * at + j] = (turn > 0 ? block_sums[width + 4 * at + j] : 0) + d_bias[i][j];
      }
    }
  }
  __syncthreads();
  for (int at = threadIdx.x; at < 2 * width; at += blockDim.x)
    partial[static_cast<I64>(blockIdx.x) * 2 * width + at] = block_sums[at];
}
