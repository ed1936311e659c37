// sum[i] = Σ over ranks of terms[rank][i], added in float32 in rank order and rounded once. terms: [ranks,
// count].
extern "C" __global__ void sum_ranks(const BFloat16* terms, BFloat16* sum, int ranks, I64 count) {
  const I64 step = static_cast<I64>(gridDim.x) * blockDim.x;
  for (I64 i = static_cast<I64>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    float all = terms[i].wide();
    for (int rank = 1; rank < ranks; ++rank) all += terms[rank * count + i].wide();
    sum[i] = BFloat16::of(all);
  }
}
