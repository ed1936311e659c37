// Sums over the rows of [rows, columns], in float32. Defined: VALUE, the type of x. A thread keeps to one
// pack of columns and goes down the rows; blockDim.x packs by blockDim.y rows.

typedef VALUE T;
constexpr int kSize = Pack<T>::kSize;

// partial: [row blocks, columns].
extern "C" __global__ void column_sums(const T* x, float* partial, I64 rows, int columns) {
  extern __shared__ float shared[];
  const int packs = columns / kSize;
  const int pack = blockIdx.x * blockDim.x + threadIdx.x;
  float sums[kSize] = {};
  if (pack < packs) {
    const I64 step = static_cast<I64>(gridDim.y) * blockDim.y;
#pragma unroll 4
    for (I64 row = static_cast<I64>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) {
      const Pack<T> values = reinterpret_cast<const Pack<T>*>(x)[row * packs + pack];
      for (int i = 0; i < kSize; ++i) sums[i] += values.values[i].wide();
    }
  }
  float* const mine = shared + (threadIdx.y * blockDim.x + threadIdx.x) * kSize;
  for (int i = 0; i < kSize; ++i) mine[i] = sums[i];
  __syncthreads();
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) {
      for (int i = 0; i < kSize; ++i) mine[i] += mine[half * blockDim.x * kSize + i];
    }
    __syncthreads();
  }
  if (threadIdx.y != 0 || pack >= packs) return;
  for (int i = 0; i < kSize; ++i)
    partial[static_cast<I64>(blockIdx.y) * columns + pack * kSize + i] = mine[i];
}
