// Cross-entropy of rows of scores, as models/gpu_operators.h has it. Defined: SCORE, their type.

typedef SCORE T;

// The log of a sum of exponentials on its way: greatest + log(sum).
struct LogSum {
  float greatest = -infinity();
  float sum = 0;

  __device__ void add(const T* values, int count) {
    float most = greatest;
    for (int i = 0; i < count; ++i) most = fmaxf(most, values[i].wide());
    if (most == -infinity()) {  // nothing is added by what is masked; what is no number stays none
      for (int i = 0; i < count; ++i) {
        if (values[i].wide() != values[i].wide()) sum = values[i].wide();
      }
      return;
    }
    if (most > greatest) {
      sum *= T::exponential(greatest - most);
      greatest = most;
    }
    for (int i = 0; i < count; ++i) sum += T::exponential(values[i].wide() - greatest);
  }

  __device__ void add(const LogSum& other) {
    const float most = fmaxf(greatest, other.greatest);
    if (most == -infinity()) {  // neither has values, or only such as are not numbers
      sum += other.sum;
      return;
    }
    sum = sum * expf(greatest - most) + other.sum * expf(other.greatest - most);
    greatest = most;
  }
};

// Over a block's threads, in the first.
__device__ LogSum over_block(LogSum mine) {
  __shared__ float greatest[32], sums[32];
  for (int distance = 16; distance > 0; distance /= 2) {
    LogSum other;
    other.greatest = __shfl_down_sync(0xffffffffU, mine.greatest, distance);
    other.sum = __shfl_down_sync(0xffffffffU, mine.sum, distance);
    mine.add(other);
  }
  if (threadIdx.x % 32 == 0) {
    greatest[threadIdx.x / 32] = mine.greatest;
    sums[threadIdx.x / 32] = mine.sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < blockDim.x / 32; ++warp) {
      LogSum other;
      other.greatest = greatest[warp];
      other.sum = sums[warp];
      mine.add(other);
    }
  }
  return mine;
}

// A block for each row.
extern "C" __global__ void cross_entropy(const T* scores, const I64* classes_of, float* losses,
                                         float* log_sums, I64 classes) {
  const T* const row = scores + blockIdx.x * classes;
  LogSum mine;
  if (classes % Pack<T>::kSize == 0) {
    const Pack<T>* const packs = reinterpret_cast<const Pack<T>*>(row);
    for (I64 i = threadIdx.x; i < classes / Pack<T>::kSize; i += blockDim.x) {
      const Pack<T> pack = packs[i];
      mine.add(pack.values, Pack<T>::kSize);
    }
  } else {
    for (I64 i = threadIdx.x; i < classes; i += blockDim.x) mine.add(row + i, 1);
  }
  mine = over_block(mine);
  if (threadIdx.x != 0) return;
  const float log_sum = mine.greatest + logf(mine.sum);
  const I64 right = classes_of[blockIdx.x];
  log_sums[blockIdx.x] = log_sum;
  losses[blockIdx.x] = right >= 0 && right < classes ? log_sum - row[right].wide() : not_a_number();
}

// sums[0] = Σ losses · weights, sums[1] = Σ weights, where each weight is of `per_weight` losses in a row.
// One block.
extern "C" __global__ void weighted_sums(const float* losses, const float* weights, double* sums, I64 rows,
                                         I64 per_weight) {
  __shared__ double parts[2][32];
  double loss = 0, weight = 0;
  for (I64 row = threadIdx.x; row < rows; row += blockDim.x) {
    const double of_row = weights[row / per_weight];
    loss += losses[row] * of_row;
    weight += of_row;
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    loss += __shfl_down_sync(0xffffffffU, loss, distance);
    weight += __shfl_down_sync(0xffffffffU, weight, distance);
  }
  if (threadIdx.x % 32 == 0) {
    parts[0][threadIdx.x / 32] = loss;
    parts[1][threadIdx.x / 32] = weight;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < blockDim.x / 32; ++warp) {
    loss += parts[0][warp];
    weight += parts[1][warp];
  }
  sums[0] = loss;
  sums[1] = weight;
}

// softmax − 1 at the right class, times the row's weight and d_sums[0], the gradient of the weighted sum.
extern "C" __global__ void cross_entropy_backward(const T* scores, const I64* classes_of,
                                                  const float* log_sums, const float* weights,
                                                  const double* d_sums, T* out, I64 classes, I64 per_weight) {
  const I64 first = blockIdx.x * classes;
  const float log_sum = log_sums[blockIdx.x];
  const float gradient = static_cast<float>(d_sums[0] * weights[blockIdx.x / per_weight]);
  const I64 right = classes_of[blockIdx.x];
  const auto of = [&](const T& score, I64 at) {
    return T::of((T::exponential(score.wide() - log_sum) - (at == right ? 1.0F : 0.0F)) * gradient);
  };
  if (classes % Pack<T>::kSize == 0) {
    const Pack<T>* const packs = reinterpret_cast<const Pack<T>*>(scores + first);
    Pack<T>* const results = reinterpret_cast<Pack<T>*>(out + first);
    for (I64 i = threadIdx.x; i < classes / Pack<T>::kSize; i += blockDim.x) {
      const Pack<T> pack = packs[i];
      Pack<T> result;
      for (int j = 0; j < Pack<T>::kSize; ++j) result.values[j] = of(pack.values[j], i * Pack<T>::kSize + j);
      results[i] = result;
    }
  } else {
    for (I64 i = threadIdx.x; i < classes; i += blockDim.x) out[first + i] = of(scores[first + i], i);
  }
}
