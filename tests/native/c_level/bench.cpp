// One network through three libraries: the answers of each on given observations, then their times in turns.
// NAME and MAKE come from the compiler's command line; WITH_GENERATOR where `generated` is linked.
#include "eigen.hpp"
#include "agent.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <vector>

#ifdef WITH_GENERATOR
extern "C" void generated(const float *in, float *out);
#endif

// Processor time of this thread: what another process takes of the core is not in it.
static double now_us() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1e6 + now.tv_nsec * 1e-3;
}

static std::vector<float> file(const char *path) {
    std::vector<float> content;
    FILE *stream = std::fopen(path, "rb");
    if (!stream) std::exit(2);
    float number;
    while (std::fread(&number, sizeof number, 1, stream) == 1) content.push_back(number);
    std::fclose(stream);
    return content;
}

int main(int, char **argv) {
    const std::vector<float> weights = file(argv[1]), given = file(argv[2]);
    const int rounds = std::atoi(argv[3]);
    const size_t inputs = AGENT_IN0_SIZE, outputs = AGENT_OUT0_SIZE, count = given.size() / inputs;
    auto network = MAKE;
    network.read(Reader{weights.data()});
    alignas(64) static unsigned char scratch[AGENT_SCRATCH_BYTES + 64];
    std::vector<std::pair<const char *, std::function<void(const float *, float *)>>> libraries = {
        {"grandopt", [&](const float *in, float *out) { if (agent_run(in, out, 1, scratch)) std::exit(3); }},
        {"eigen", [&](const float *in, float *out) { network.run(in, out); }},
#ifdef WITH_GENERATOR
        {"generator", generated},
#endif
    };
    std::vector<float> out(outputs);
    for (auto &[name, run] : libraries) {
        std::printf("answers %s", name);
        for (size_t i = 0; i < count; ++i) {
            run(&given[i * inputs], out.data());
            for (float number : out) std::printf(" %.9g", number);
        }
        std::printf("\n");
    }
    std::vector<std::vector<double>> times(libraries.size());
    for (int round = 0; round < rounds; ++round) {
        for (size_t which = 0; which < libraries.size(); ++which) {
            auto &run = libraries[which].second;
            const double start = now_us();
            long calls = 0;
            double spent = 0;
            do {
                for (size_t i = 0; i < count; ++i) run(&given[i * inputs], out.data());
                calls += count;
                spent = now_us() - start;
            } while (spent < 2000);
            times[which].push_back(spent / calls);
        }
    }
    for (size_t which = 0; which < libraries.size() && rounds; ++which) {
        std::nth_element(times[which].begin(), times[which].begin() + rounds / 2, times[which].end());
        std::printf("microseconds %s %.4f\n", libraries[which].first, times[which][rounds / 2]);
    }
    return 0;
}
