/* measured: what methods lost, in nats per token above the dense model. Written by bench/methods.py --table; not by hand. */
#include "measured.h"

#include <math.h>
#include <stddef.h>

#define NONE ((double)NAN) /* not measured */

/* clang-format off */
const double measured_shares[MEASURED_SHARES] = {0.1, 0.2, 0.3, 0.5, 0.65};
const char *const measured_models[MEASURED_MODELS] = {"pare-llama-1.31M", "pare-qwen2-1.31M", "SmolLM2-135M-Instruct"};
const measured_method measured_methods[] = {
    {"activation", {{0.078, 0.270, 0.590, 1.785, NONE}, {0.084, 0.281, 0.588, 1.872, NONE}, {0.306, 0.669, 1.296, 3.407, NONE}}},
    {"activation-channels", {{0.281, 0.800, 1.526, 2.762, 3.294}, {0.260, 0.764, 1.408, 2.798, 3.249}, {0.971, 2.561, 3.894, 7.209, 7.233}}},
    {"activation-groups", {{0.162, NONE, NONE, NONE, NONE}, {0.153, NONE, NONE, NONE, NONE}, {1.329, NONE, NONE, NONE, NONE}}},
    {"activation-heads", {{0.186, NONE, NONE, NONE, NONE}, {0.230, NONE, NONE, NONE, NONE}, {5.793, NONE, NONE, NONE, NONE}}},
    {"flap", {{0.089, 0.303, 0.673, 2.025, NONE}, {0.090, 0.301, 0.656, 2.037, NONE}, {0.334, 0.754, 1.398, 3.733, NONE}}},
    {"flap-groups", {{0.104, NONE, NONE, NONE, NONE}, {0.111, NONE, NONE, NONE, NONE}, {1.468, NONE, NONE, NONE, NONE}}},
    {"flap-heads", {{0.183, NONE, NONE, NONE, NONE}, {0.180, NONE, NONE, NONE, NONE}, {2.094, NONE, NONE, NONE, NONE}}},
    {"last-layers", {{0.314, 0.628, 1.020, 2.098, NONE}, {0.302, 0.604, 1.033, 1.869, NONE}, {5.745, 15.453, 16.748, 16.818, 21.048}}},
    {"lila", {{0.197, 0.538, 1.071, 2.739, NONE}, {0.177, 0.554, 1.121, 2.914, NONE}, {0.419, 1.025, 2.077, 5.608, NONE}}},
    {"magnitude", {{0.510, 1.052, 1.862, 3.696, NONE}, {0.487, 1.179, 1.831, 3.369, NONE}, {7.216, 9.956, 10.378, 11.612, NONE}}},
    {"magnitude-channels", {{0.308, 0.974, 1.696, 3.093, 3.439}, {0.285, 0.841, 1.516, 2.970, 3.329}, {5.448, 6.047, 5.941, 6.528, 6.361}}},
    {"magnitude-groups", {{0.185, NONE, NONE, NONE, NONE}, {0.153, NONE, NONE, NONE, NONE}, {4.266, NONE, NONE, NONE, NONE}}},
    {"magnitude-heads", {{0.266, NONE, NONE, NONE, NONE}, {0.336, NONE, NONE, NONE, NONE}, {5.451, NONE, NONE, NONE, NONE}}},
    {"perplexity-layers", {{0.280, 0.560, 0.794, 1.461, NONE}, {0.276, 0.553, 1.136, 1.880, NONE}, {0.534, 1.257, 1.857, 3.252, 6.494}}},
    {"prunenet", {{0.268, 0.734, 1.351, 3.209, NONE}, {0.232, 0.592, 1.134, 3.051, NONE}, {1.056, 2.920, 4.994, 10.631, NONE}}},
    {"random", {{0.294, 0.683, 1.373, 3.116, NONE}, {0.282, 0.716, 1.342, 2.966, NONE}, {1.082, 2.867, 5.639, 10.862, NONE}}},
    {"random-groups", {{0.548, NONE, NONE, NONE, NONE}, {0.446, NONE, NONE, NONE, NONE}, {1.998, NONE, NONE, NONE, NONE}}},
    {"random-heads", {{0.740, NONE, NONE, NONE, NONE}, {0.571, NONE, NONE, NONE, NONE}, {4.834, NONE, NONE, NONE, NONE}}},
    {"shortgpt", {{0.280, 0.560, 1.466, 2.450, NONE}, {0.276, 0.553, 1.136, 1.880, NONE}, {0.513, 1.008, 1.818, 5.809, 6.637}}},
    {"slice", {{0.273, 0.559, 1.049, 2.161, 2.971}, {0.293, 0.539, 1.019, 2.122, 2.971}, {2.043, 2.718, 3.183, 3.989, 4.390}}},
    {"slice-global", {{0.081, 0.288, 0.737, 2.166, 3.351}, {0.062, 0.266, 0.686, 2.022, 3.297}, {0.609, 1.480, 2.413, 4.674, 7.276}}},
    {"surgeon", {{0.041, 0.138, 0.358, 1.325, NONE}, {0.053, 0.169, 0.392, 1.348, NONE}, {0.276, 0.582, 0.916, 1.785, NONE}}},
    {"surgeon-all", {{0.041, 0.134, 0.204, 0.731, 1.648}, {0.049, 0.165, 0.233, 0.744, 1.632}, {0.270, 0.555, 0.910, 1.783, 2.758}}},
    {"surgeon-groups", {{0.084, NONE, NONE, NONE, NONE}, {0.081, NONE, NONE, NONE, NONE}, {0.898, NONE, NONE, NONE, NONE}}},
    {"svd", {{0.375, 0.681, 1.260, 3.221, 4.674}, {0.347, 0.636, 1.270, 3.259, 4.396}, {13.113, 14.401, 14.660, 14.910, 19.906}}},
    {"svd-llm", {{0.277, 0.545, 0.968, 2.296, 3.286}, {0.290, 0.552, 0.987, 2.215, 3.224}, {1.607, 2.385, 2.948, 4.687, 5.823}}},
    {"taylor", {{0.081, 0.302, 0.710, 2.073, NONE}, {0.111, 0.340, 0.689, 2.094, NONE}, {0.402, 0.878, 1.567, 4.472, NONE}}},
    {"taylor-all", {{0.065, 0.232, 1.146, 1.936, 2.936}, {0.097, 0.547, 0.770, 1.552, 2.546}, {0.357, 0.889, 1.447, 5.918, 8.620}}},
    {"taylor-groups", {{0.162, NONE, NONE, NONE, NONE}, {0.153, NONE, NONE, NONE, NONE}, {4.643, NONE, NONE, NONE, NONE}}},
    {"taylor-heads", {{0.215, NONE, NONE, NONE, NONE}, {0.215, NONE, NONE, NONE, NONE}, {4.430, NONE, NONE, NONE, NONE}}},
    {"wanda-sp", {{0.084, 0.285, 0.611, 1.847, NONE}, {0.088, 0.296, 0.637, 1.871, NONE}, {0.340, 0.766, 1.371, 3.337, NONE}}},
    {"wanda-sp-groups", {{0.162, NONE, NONE, NONE, NONE}, {0.153, NONE, NONE, NONE, NONE}, {4.133, NONE, NONE, NONE, NONE}}},
    {"wanda-sp-heads", {{0.200, NONE, NONE, NONE, NONE}, {0.216, NONE, NONE, NONE, NONE}, {4.443, NONE, NONE, NONE, NONE}}},
    {NULL, {{0}}},
};
/* clang-format on */
