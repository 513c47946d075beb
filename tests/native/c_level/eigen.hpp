// The networks of networks.py as one would write them by hand with Eigen, without an allocation in a call.
#pragma once
#include <Eigen/Dense>
#include <initializer_list>
#include <utility>
#include <vector>

using Matrix = Eigen::MatrixXf;
using Vector = Eigen::VectorXf;
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct Reader {
    const float *at;
    Matrix matrix(int rows, int columns) {
        Matrix read = Eigen::Map<const Matrix>(at, rows, columns);
        at += rows * columns;
        return read;
    }
    Vector vector(int rows) { return matrix(rows, 1); }
};

struct Mlp {
    std::vector<int> widths;
    std::vector<Matrix> weight;
    std::vector<Vector> bias, value;
    Mlp(std::initializer_list<int> sizes) : widths(sizes) {}
    void read(Reader from) {
        for (size_t i = 1; i < widths.size(); ++i) {
            weight.push_back(from.matrix(widths[i], widths[i - 1]));
            bias.push_back(from.vector(widths[i]));
            value.push_back(Vector::Zero(widths[i]));
        }
    }
    void run(const float *in, float *out) {
        const size_t last = weight.size() - 1;
        for (size_t i = 0; i <= last; ++i) {
            value[i] = bias[i];
            if (i == 0)
                value[i].noalias() += weight[i] * Eigen::Map<const Vector>(in, widths[0]);
            else
                value[i].noalias() += weight[i] * value[i - 1];
            if (i < last) value[i] = value[i].cwiseMax(0.0f);
        }
        Eigen::Map<Vector>(out, value[last].size()) = value[last];
    }
};

// The input products of all steps are one product; each step then has one of its own.
struct Cell {
    int inputs, hidden, outputs, steps, gates;
    Matrix in_weight, state_weight, head, given;
    Vector in_bias, state_bias, head_bias, h, c, from_state, mixed;
    Cell(int i, int n, int o, int t, int g) : inputs(i), hidden(n), outputs(o), steps(t), gates(g) {}
    void read(Reader from) {
        in_weight = from.matrix(gates * hidden, inputs);
        state_weight = from.matrix(gates * hidden, hidden);
        in_bias = from.vector(gates * hidden);
        state_bias = from.vector(gates * hidden);
        head = from.matrix(outputs, hidden);
        head_bias = from.vector(outputs);
        given.resize(gates * hidden, steps);
        h.resize(hidden);
        c.resize(hidden);
        mixed.resize(hidden);
        from_state.resize(gates * hidden);
    }
    void start(const float *in) {
        given.noalias() = in_weight * Eigen::Map<const Matrix>(in, inputs, steps);
        given.colwise() += in_bias;
        h.setZero();
        c.setZero();
    }
    void step() {
        from_state = state_bias;
        from_state.noalias() += state_weight * h;
    }
    void finish(float *out) {
        Eigen::Map<Vector> result(out, outputs);
        result = head_bias;
        result.noalias() += head * h;
    }
};

struct Gru : Cell {
    Gru(int i, int n, int o, int t) : Cell(i, n, o, t, 3) {}
    void run(const float *in, float *out) {
        start(in);
        for (int t = 0; t < steps; ++t) {
            step();
            auto x = given.col(t).array();
            auto s = from_state.array();
            const int n = hidden;
            mixed.array() = (x.segment(0, n) + s.segment(0, n)).logistic();
            mixed.array() = (x.segment(2 * n, n) + mixed.array() * s.segment(2 * n, n)).tanh();
            c.array() = (x.segment(n, n) + s.segment(n, n)).logistic();
            h.array() = mixed.array() + c.array() * (h.array() - mixed.array());
        }
        finish(out);
    }
};

struct Lstm : Cell {
    Lstm(int i, int n, int o, int t) : Cell(i, n, o, t, 4) {}
    void run(const float *in, float *out) {
        start(in);
        for (int t = 0; t < steps; ++t) {
            step();
            from_state += given.col(t);
            auto s = from_state.array();
            const int n = hidden;
            c.array() = s.segment(n, n).logistic() * c.array() + s.segment(0, n).logistic() * s.segment(2 * n, n).tanh();
            h.array() = s.segment(3 * n, n).logistic() * c.array().tanh();
        }
        finish(out);
    }
};

struct Tcn {
    int channels, outputs, layers, steps;
    std::vector<Matrix> taps;
    std::vector<Vector> bias;
    Matrix head, value, next;
    Vector head_bias;
    Tcn(int c, int o, int n, int t) : channels(c), outputs(o), layers(n), steps(t) {}
    void read(Reader from) {
        for (int i = 0; i < layers; ++i) {
            for (int k = 0; k < 3; ++k) taps.push_back(from.matrix(channels, channels));
            bias.push_back(from.vector(channels));
        }
        head = from.matrix(outputs, channels);
        head_bias = from.vector(outputs);
        value.resize(channels, steps);
        next.resize(channels, steps);
    }
    void run(const float *in, float *out) {
        value = Eigen::Map<const Rows>(in, channels, steps);
        for (int i = 0; i < layers; ++i) {
            next = bias[i].replicate(1, steps);
            for (int k = 0; k < 3; ++k) {
                const int back = (2 - k) << i;
                next.rightCols(steps - back).noalias() += taps[3 * i + k] * value.leftCols(steps - back);
            }
            value += next.cwiseMax(0.0f);
        }
        Eigen::Map<Vector> result(out, outputs);
        result = head_bias;
        result.noalias() += head * value.col(steps - 1);
    }
};
