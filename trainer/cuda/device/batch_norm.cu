// Batch norm over [rows, channels] (images with channels last), with what follows it: + other, then relu.
// Ioffe and Szegedy 2015. A thread keeps to one pack of channels and goes down the rows; blockDim.x packs by
// blockDim.y rows. Defined: VALUE, the type of x.

typedef VALUE T;
constexpr int kSize = Pack<T>::kSize;

// Of a block's threads with the same channels, in those of threadIdx.y == 0. `shared`: [threads, 2 · kSize].
__device__ void over_rows(float (&first)[kSize], float (&second)[kSize], float* shared) {
  float* const mine = shared + (threadIdx.y * blockDim.x + threadIdx.x) * 2 * kSize;
  for (int i = 0; i < kSize; ++i) {
    mine[i] = first[i];
    mine[kSize + i] = second[i];
  }
  __syncthreads();
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) {
      const float* const other = mine + half * blockDim.x * 2 * kSize;
      for (int i = 0; i < 2 * kSize; ++i) mine[i] += other[i];
    }
    __syncthreads();
  }
  for (int i = 0; i < kSize; ++i) {
    first[i] = mine[i];
    second[i] = mine[kSize + i];
  }
}

// partial [row blocks, 2, channels]: sums of x − shift, and of their squares, where shift is the first row.
extern "C" __global__ void norm_sums(const T* x, float* partial, I64 rows, int channels) {
  extern __shared__ float shared[];
  const int packs = channels / kSize;
  const int pack = blockIdx.x * blockDim.x + threadIdx.x;
  float sums[kSize] = {}, squares[kSize] = {};
  const Pack<T>* const all = reinterpret_cast<const Pack<T>*>(x);
  if (pack < packs) {
    const Pack<T> shift = all[pack];
    const I64 step = static_cast<I64>(gridDim.y) * blockDim.y;
#pragma unroll 4
    for (I64 row = static_cast<I64>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) {
      const Pack<T> values = all[row * packs + pack];
      for (int i = 0; i < kSize; ++i) {
        const float value = values.values[i].wide() - shift.values[i].wide();
        sums[i] += value;
        squares[i] += value * value;
      }
    }
  }
  over_rows(sums, squares, shared);
  if (threadIdx.y != 0 || pack >= packs) return;
  for (int i = 0; i < kSize; ++i) {
    partial[(static_cast<I64>(blockIdx.y) * 2) * channels + pack * kSize + i] = sums[i];
    partial[(static_cast<I64>(blockIdx.y) * 2 + 1) * channels + pack * kSize + i] = squares[i];
  }
}

// Blocks of 32 channels by 32.
extern "C" __global__ void norm_statistics(const T* x, const float* partial, float* means, float* inverses,
                                           int blocks, I64 rows, int channels, double epsilon) {
  __shared__ double parts[2][32][33];
  const int channel = blockIdx.x * 32 + threadIdx.x;
  double sum = 0, squares = 0;
  if (channel < channels) {
    for (int block = threadIdx.y; block < blocks; block += 32) {
      sum += partial[static_cast<I64>(block) * 2 * channels + channel];
      squares += partial[(static_cast<I64>(block) * 2 + 1) * channels + channel];
    }
  }
  parts[0][threadIdx.y][threadIdx.x] = sum;
  parts[1][threadIdx.y][threadIdx.x] = squares;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= channels) return;
  for (int i = 1; i < 32; ++i) {
    sum += parts[0][i][threadIdx.x];
    squares += parts[1][i][threadIdx.x];
  }
  const double mean = sum / rows;
  const double variance = squares / rows - mean * mean;
  means[channel] = static_cast<float>(x[channel].wide() + mean);
  inverses[channel] = static_cast<float>(1 / sqrt((variance > 0 ? variance : 0) + epsilon));
}

// What a thread knows of its channels.
struct NormChannels {
  float mean[kSize], inverse[kSize], weight[kSize], bias[kSize];

  __device__ void load(const float* means, const float* inverses, const float* weights, const float* biases,
                       int first) {
    for (int i = 0; i < kSize; ++i) {
      mean[i] = means[first + i];
      inverse[i] = inverses[first + i];
      weight[i] = weights[first + i];
      bias[i] = biases[first + i];
    }
  }
  __device__ float normed(int i, float x) const { return (x - mean[i]) * inverse[i]; }
  __device__ float result(int i, float x) const { return normed(i, x) * weight[i] + bias[i]; }
};

// y = relu(result of x + other); other may be null, and there may be no relu.
extern "C" __global__ void norm_apply(const T* x, const T* other, const float* means, const float* inverses,
                                      const float* weights, const float* biases, T* y, I64 rows, int channels,
                                      int relu) {
  const int packs = channels / kSize;
  const int pack = blockIdx.x * blockDim.x + threadIdx.x;
  if (pack >= packs) return;
  NormChannels of;
  of.load(means, inverses, weights, biases, pack * kSize);
  const I64 step = static_cast<I64>(gridDim.y) * blockDim.y;
#pragma unroll 2
  for (I64 row = static_cast<I64>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) {
    const Pack<T> values = reinterpret_cast<const Pack<T>*>(x)[row * packs + pack];
    Pack<T> others = {}, results;
    if (other != nullptr) others = reinterpret_cast<const Pack<T>*>(other)[row * packs + pack];
    for (int i = 0; i < kSize; ++i) {
      float result = of.result(i, values.values[i].wide());
      if (other != nullptr) result += others.values[i].wide();
      if (relu && result < 0) result = 0;
      results.values[i] = T::of(result);
    }
    reinterpret_cast<Pack<T>*>(y)[row * packs + pack] = results;
  }
}

// The gradient of what the norm gave: dy where relu let it through. `y` is null where nothing was added: then
// x tells.
__device__ float through_relu(float dy, const NormChannels& of, int i, float x, const T* y, float y_value,
                              int relu) {
  if (!relu) return dy;
  return (y == nullptr ? of.result(i, x) : y_value) > 0 ? dy : 0.0F;
}

// partial [row blocks, 2, channels]: sums of gradients times normed values, and of gradients.
extern "C" __global__ void norm_backward_sums(const T* dy, const T* x, const T* y, const float* means,
                                              const float* inverses, const float* weights,
                                              const float* biases, float* partial, I64 rows, int channels,
                                              int relu) {
  extern __shared__ float shared[];
  const int packs = channels / kSize;
  const int pack = blockIdx.x * blockDim.x + threadIdx.x;
  float products[kSize] = {}, sums[kSize] = {};
  if (pack < packs) {
    NormChannels of;
    of.load(means, inverses, weights, biases, pack * kSize);
    const I64 step = static_cast<I64>(gridDim.y) * blockDim.y;
#pragma unroll 2
    for (I64 row = static_cast<I64>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) {
      const I64 at = row * packs + pack;
      const Pack<T> gradients = reinterpret_cast<const Pack<T>*>(dy)[at];
      const Pack<T> values = reinterpret_cast<const Pack<T>*>(x)[at];
      Pack<T> results = {};
      if (y != nullptr) results = reinterpret_cast<const Pack<T>*>(y)[at];
      for (int i = 0; i < kSize; ++i) {
        const float value = values.values[i].wide();
        const float gradient =
            through_relu(gradients.values[i].wide(), of, i, value, y, results.values[i].wide(), relu);
        products[i] += gradient * of.normed(i, value);
        sums[i] += gradient;
      }
    }
  }
  over_rows(products, sums, shared);
  if (threadIdx.y != 0 || pack >= packs) return;
  for (int i = 0; i < kSize; ++i) {
    partial[(static_cast<I64>(blockIdx.y) * 2) * channels + pack * kSize + i] = products[i];
    partial[(static_cast<I64>(blockIdx.y) * 2 + 1) * channels + pack * kSize + i] = sums[i];
  }
}

// dx, and d_other (null: nothing was added). `sums` [2, channels]: d_weight, d_bias.
extern "C" __global__ void norm_backward(const T* dy, const T* x, const T* y, const float* means,
                                         const float* inverses, const float* weights, const float* biases,
                                         const float* sums, T* dx, T* d_other, I64 rows, int channels,
                                         int relu) {
  const int packs = channels / kSize;
  const int pack = blockIdx.x * blockDim.x + threadIdx.x;
  if (pack >= packs) return;
  NormChannels of;
  of.load(means, inverses, weights, biases, pack * kSize);
  float product[kSize], mean[kSize];
  for (int i = 0; i < kSize; ++i) {
    product[i] = sums[pack * kSize + i] / rows;
    mean[i] = sums[channels + pack * kSize + i] / rows;
  }
  const I64 step = static_cast<I64>(gridDim.y) * blockDim.y;
#pragma unroll 2
  for (I64 row = static_cast<I64>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) {
    const I64 at = row * packs + pack;
    const Pack<T> gradients = reinterpret_cast<const Pack<T>*>(dy)[at];
    const Pack<T> values = reinterpret_cast<const Pack<T>*>(x)[at];
    Pack<T> results = {}, result, through;
    if (y != nullptr) results = reinterpret_cast<const Pack<T>*>(y)[at];
    for (int i = 0; i < kSize; ++i) {
      const float value = values.values[i].wide();
      const float gradient =
          through_relu(gradients.values[i].wide(), of, i, value, y, results.values[i].wide(), relu);
      through.values[i] = T::of(gradient);
      result.values[i] =
          T::of(of.weight[i] * of.inverse[i] * (gradient - mean[i] - of.normed(i, value) * product[i]));
    }
    reinterpret_cast<Pack<T>*>(dx)[at] = result;
    if (d_other != nullptr) reinterpret_cast<Pack<T>*>(d_other)[at] = through;
  }
}
