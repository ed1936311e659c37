// The last step of sums over blocks.

// sums[c] = Σ over blocks of partial[block][c], in double. Blocks of 32 columns by 32.
extern "C" __global__ void sum_partials(const float* partial, float* sums, int blocks, int columns) {
  __shared__ double parts[32][33];
  const int column = blockIdx.x * 32 + threadIdx.x;
  double total = 0;
  if (column < columns) {
    for (int block = threadIdx.y; block < blocks; block += 32)
      total += partial[static_cast<I64>(block) * columns + column];
  }
  parts[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  for (int i = 1; i < 32; ++i) total += parts[i][threadIdx.x];
  sums[column] = static_cast<float>(total);
}
