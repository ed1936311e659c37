// The masks of models/dropout.cpp.

// Philox4x32-10, as core/random.h's philox(key, counter).
__device__ void philox(U64 key, U64 counter, U32 (&words)[4]) {
  U32 key0 = static_cast<U32>(key), key1 = static_cast<U32>(key >> 32);
  U32 c0 = static_cast<U32>(counter), c1 = static_cast<U32>(counter >> 32), c2 = 0, c3 = 0;
  for (int round = 0; round < 10; ++round) {
    const U32 high0 = __umulhi(0xD2511F53U, c0), low0 = 0xD2511F53U * c0;
    const U32 high1 = __umulhi(0xCD9E8D57U, c2), low1 = 0xCD9E8D57U * c2;
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

// A thread for each four values of a row.
extern "C" __global__ void dropout_mask(const U64* keys, float* mask, I64 rows, I64 per_row, U64 keep_below,
                                        float scale) {
  const I64 words_per_row = (per_row + 3) / 4;
  const I64 step = static_cast<I64>(gridDim.x) * blockDim.x;
  for (I64 i = static_cast<I64>(blockIdx.x) * blockDim.x + threadIdx.x; i < rows * words_per_row; i += step) {
    const I64 row = i / words_per_row;
    const I64 counter = i % words_per_row;
    U32 words[4];
    philox(keys[row], static_cast<U64>(counter), words);
    for (int j = 0; j < 4 && 4 * counter + j < per_row; ++j)
      mask[row * per_row + 4 * counter + j] = words[j] < keep_below ? scale : 0.0F;
  }
}
