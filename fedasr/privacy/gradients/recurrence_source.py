"""The recurrence in C++, as text: Flower packs Python files into an app, and no other source."""

SOURCE = r"""// The recurrence of an LSTM layer (Hochreiter & Schmidhuber 1997), forward and backward, on one thread.
//
// All arrays are float32, row-major and contiguous: (batch, time, ...). Gates stand in the order of nn.LSTM: input,
// forget, cell, output. Only what depends on the previous frame is here; the products over all frames at once are
// the caller's, who has a better matrix product than this one for them.
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 8;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRows = 6;
#else
constexpr int kLanes = 4, kRows = 4;
#endif
constexpr int kVectors = 2;
constexpr int kPanel = kLanes * kVectors;

typedef float Vec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

// e^x to about one unit in the last place; branch-free, so that loops over it are vectorised. NaN stays NaN.
inline float exponential(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  const float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504f + rounder;
  const float n = shifted - rounder;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t exponent, bits;
  std::memcpy(&exponent, &shifted, 4);
  std::memcpy(&bits, &p, 4);
  bits += static_cast<int32_t>(static_cast<uint32_t>(exponent) << 23);
  std::memcpy(&p, &bits, 4);
  return p;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

inline float hyperbolic_tangent(float x) {
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float near = p * z * x + x;  // where 1 - 2 / (e^2x + 1) would cancel
  const float far = 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f);
  return z < 0.390625f ? near : far;
}

// A matrix (inner, columns) cut into panels of kPanel columns, each (inner, kPanel) and contiguous, zeros at the end.
struct Panels {
  std::vector<float> data;
  int64_t inner, columns;

  // transposed: element (k, j) of the matrix is source[j * inner + k]; else source[k * columns + j].
  Panels(const float* source, int64_t inner_, int64_t columns_, bool transposed) : inner(inner_), columns(columns_) {
    const int64_t panels = (columns + kPanel - 1) / kPanel;
    data.assign(panels * inner * kPanel, 0.0f);
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t start = panel * kPanel;
      const int64_t width = columns - start < kPanel ? columns - start : kPanel;
      float* to = data.data() + panel * inner * kPanel;
      if (transposed) {
        for (int64_t j = 0; j < width; ++j)
          for (int64_t k = 0; k < inner; ++k) to[k * kPanel + j] = source[(start + j) * inner + k];
      } else {
        for (int64_t k = 0; k < inner; ++k)
          std::memcpy(to + k * kPanel, source + k * columns + start, width * sizeof(float));
      }
    }
  }
};

template <int rows>
inline void tile(const float* a, int64_t stride_a, const float* panel, int64_t inner, float* c, int64_t stride_c,
                 int64_t width) {
  Vec sums[rows][kVectors] = {};
  for (int64_t k = 0; k < inner; ++k) {
    Vec b[kVectors];
    for (int v = 0; v < kVectors; ++v) b[v] = *reinterpret_cast<const Vec*>(panel + k * kPanel + v * kLanes);
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v) sums[r][v] += a[r * stride_a + k] * b[v];
  }
  for (int r = 0; r < rows; ++r) {
    if (width == kPanel) {
      for (int v = 0; v < kVectors; ++v) *reinterpret_cast<Vec*>(c + r * stride_c + v * kLanes) += sums[r][v];
    } else {
      float flat[kPanel];
      std::memcpy(flat, sums[r], sizeof flat);
      for (int64_t j = 0; j < width; ++j) c[r * stride_c + j] += flat[j];
    }
  }
}

template <int rows>
inline void tile_of(int64_t wanted, const float* a, int64_t stride_a, const float* panel, int64_t inner, float* c,
                    int64_t stride_c, int64_t width) {
  if (wanted == rows) {
    tile<rows>(a, stride_a, panel, inner, c, stride_c, width);
  } else if constexpr (rows > 1) {
    tile_of<rows - 1>(wanted, a, stride_a, panel, inner, c, stride_c, width);
  }
}

// c (rows, columns) += a (rows, inner) times the matrix.
void add_product(const float* a, int64_t stride_a, const Panels& matrix, float* c, int64_t stride_c, int64_t rows) {
  for (int64_t start = 0; start < matrix.columns; start += kPanel) {
    const float* panel = matrix.data.data() + start * matrix.inner;
    const int64_t width = matrix.columns - start < kPanel ? matrix.columns - start : kPanel;
    for (int64_t row = 0; row < rows; row += kRows) {
      const int64_t count = rows - row < kRows ? rows - row : kRows;
      tile_of<kRows>(count, a + row * stride_a, stride_a, panel, matrix.inner, c + row * stride_c + start, stride_c,
                     width);
    }
  }
}

void cell_forward(int64_t hidden, float* __restrict gates, const float* __restrict before, float* __restrict cell,
                  float* __restrict out) {
  float* __restrict in = gates;
  float* __restrict forget = gates + hidden;
  float* __restrict candidate = gates + 2 * hidden;
  float* __restrict output = gates + 3 * hidden;
  for (int64_t j = 0; j < 2 * hidden; ++j) gates[j] = sigmoid(gates[j]);
  for (int64_t j = 0; j < hidden; ++j) candidate[j] = hyperbolic_tangent(candidate[j]);
  for (int64_t j = 0; j < hidden; ++j) output[j] = sigmoid(output[j]);
  for (int64_t j = 0; j < hidden; ++j) {
    cell[j] = forget[j] * before[j] + in[j] * candidate[j];
    out[j] = output[j] * hyperbolic_tangent(cell[j]);
  }
}

void cell_backward(int64_t hidden, const float* __restrict gates, const float* __restrict before,
                   const float* __restrict cell, const float* __restrict grad_hidden, float* __restrict grad_cell,
                   float* __restrict delta) {
  const float* __restrict in = gates;
  const float* __restrict forget = gates + hidden;
  const float* __restrict candidate = gates + 2 * hidden;
  const float* __restrict output = gates + 3 * hidden;
  float* __restrict delta_in = delta;
  float* __restrict delta_forget = delta + hidden;
  float* __restrict delta_candidate = delta + 2 * hidden;
  float* __restrict delta_output = delta + 3 * hidden;
  for (int64_t j = 0; j < hidden; ++j) {
    const float squashed = hyperbolic_tangent(cell[j]);
    const float i = in[j], f = forget[j], g = candidate[j], o = output[j];
    const float d = grad_cell[j] + grad_hidden[j] * o * (1.0f - squashed * squashed);
    delta_in[j] = d * g * i * (1.0f - i);
    delta_forget[j] = d * before[j] * f * (1.0f - f);
    delta_candidate[j] = d * i * (1.0f - g * g);
    delta_output[j] = grad_hidden[j] * squashed * o * (1.0f - o);
    grad_cell[j] = d * f;
  }
}

}  // namespace

extern "C" {

// gates (batch, time, 4 hidden): in, the inputs' share of the pre-activations; out, the activated gates.
// weight (4 hidden, hidden); h0, c0 (batch, hidden); h, c (batch, time, hidden): written.
// Returns 0, or 1 where memory ran out.
int fedasr_lstm_forward(int64_t batch, int64_t time, int64_t hidden, float* gates, const float* weight, const float* h0,
                        const float* c0, float* h, float* c) try {
  const Panels recurrent(weight, hidden, 4 * hidden, true);
  for (int64_t t = 0; t < time; ++t) {
    const float* before = t ? h + (t - 1) * hidden : h0;
    add_product(before, t ? time * hidden : hidden, recurrent, gates + t * 4 * hidden, time * 4 * hidden, batch);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t frame = b * time + t;
      const float* cell_before = t ? c + (frame - 1) * hidden : c0 + b * hidden;
      cell_forward(hidden, gates + frame * 4 * hidden, cell_before, c + frame * hidden, h + frame * hidden);
    }
  }
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

// gates, c: as forward left them. grad_h (batch, time, hidden); grad_c the same, or null for zeros.
// Written: delta (batch, time, 4 hidden), the gradients of the pre-activations; grad_h0, grad_c0 (batch, hidden).
// Returns 0, or 1 where memory ran out.
int fedasr_lstm_backward(int64_t batch, int64_t time, int64_t hidden, const float* gates, const float* weight,
                         const float* c0, const float* c, const float* grad_h, const float* grad_c, float* delta,
                         float* grad_h0, float* grad_c0) try {
  const Panels recurrent(weight, 4 * hidden, hidden, false);
  std::memset(grad_c0, 0, batch * hidden * sizeof(float));
  for (int64_t t = time - 1; t >= 0; --t) {
    for (int64_t b = 0; b < batch; ++b)
      std::memcpy(grad_h0 + b * hidden, grad_h + (b * time + t) * hidden, hidden * sizeof(float));
    if (t + 1 < time) add_product(delta + (t + 1) * 4 * hidden, time * 4 * hidden, recurrent, grad_h0, hidden, batch);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t frame = b * time + t;
      if (grad_c)
        for (int64_t j = 0; j < hidden; ++j) grad_c0[b * hidden + j] += grad_c[frame * hidden + j];
      const float* cell_before = t ? c + (frame - 1) * hidden : c0 + b * hidden;
      cell_backward(hidden, gates + frame * 4 * hidden, cell_before, c + frame * hidden, grad_h0 + b * hidden,
                    grad_c0 + b * hidden, delta + frame * 4 * hidden);
    }
  }
  std::memset(grad_h0, 0, batch * hidden * sizeof(float));
  if (time) add_product(delta, time * 4 * hidden, recurrent, grad_h0, hidden, batch);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

// The sure part of the ziggurat (fedasr/privacy/ziggurat.py): out (count), normal numbers; open (count + 1), written
// from the start: which of them are not decided yet. Returns how many.
int64_t fedasr_normals(int64_t count, const int64_t* words, const double* width, const double* sure, double* out,
                       int64_t* open) {
  int64_t undecided = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t layer = words[i] & 255;
    const double place = static_cast<double>(words[i] >> 11);
    out[i] = place * width[layer];
    open[undecided] = i;
    undecided += (place < 0 ? -place : place) >= sure[layer];
  }
  return undecided;
}

}  // extern "C"
"""
