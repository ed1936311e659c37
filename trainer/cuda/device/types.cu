// Device code of libmuster_cuda. Each other file, after this one, is a program that NVRTC compiles when it is
// first used, for the types that are defined then (../kernels.h). No nvcc is needed to build, and no header
// is included here.

typedef unsigned int U32;
typedef unsigned long long U64;
typedef long long I64;

__device__ inline float infinity() { return __uint_as_float(0x7f800000U); }
__device__ inline float not_a_number() { return __uint_as_float(0x7fffffffU); }

struct Float32 {
  float value;
  __device__ float wide() const { return value; }
  __device__ static Float32 of(float x) { return {x}; }
  __device__ static float exponential(float x) { return expf(x); }
};

struct BFloat16 {
  unsigned short bits;
  __device__ float wide() const { return __uint_as_float(static_cast<U32>(bits) << 16); }
  __device__ static BFloat16 of(float x) {  // to the nearest, ties to even
    const U32 whole = __float_as_uint(x);
    if (x != x) return {0x7fff};
    return {static_cast<unsigned short>((whole + 0x7fffU + (whole >> 16 & 1U)) >> 16)};
  }
  __device__ static float exponential(float x) { return __expf(x); }
};

struct Float16 {
  unsigned short bits;
  __device__ float wide() const {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
  }
  __device__ static Float16 of(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return {bits};
  }
  __device__ static float exponential(float x) { return __expf(x); }
};

// What a thread loads and stores at once.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T values[kSize];
};
