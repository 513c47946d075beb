static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	float * py0 = (float *)(scratch + 0);
	{
		const uint32_t *const w = (const uint32_t *)(weights + 0);
		const float *const bias = (const float *)(weights + 20480);
		unsigned char *const work = scratch + 23040;
		uint32_t *const pairs = (uint32_t *)(work + 0);
		for (int row = 0; row < 18; ++row) {
			pairs_of_row(pairs + row * 32, (px0 + 0) + row * 40, 40);
		}
		for (int p = 0; p < 4; ++p) {
			for (int m = 0; m < 18; m += 6) {
				{
					vf a0_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a0_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a0_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a0_3_0 = v_load(bias + p * 64 + 0 + 48);
					vf a1_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a1_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a1_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a1_3_0 = v_load(bias + p * 64 + 0 + 48);
					vf a2_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a2_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a2_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a2_3_0 = v_load(bias + p * 64 + 0 + 48);
					vf a3_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a3_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a3_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a3_3_0 = v_load(bias + p * 64 + 0 + 48);
					vf a4_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a4_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a4_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a4_3_0 = v_load(bias + p * 64 + 0 + 48);
					vf a5_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a5_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a5_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a5_3_0 = v_load(bias + p * 64 + 0 + 48);
					for (int k = 0; k < 20; ++k) {
						{
							const vp w0 = vp_load(w + p * 1280 + (k + 0) * 64 + 0 + 0);
							const vp w1 = vp_load(w + p * 1280 + (k + 0) * 64 + 0 + 16);
							const vp w2 = vp_load(w + p * 1280 + (k + 0) * 64 + 0 + 32);
							const vp w3 = vp_load(w + p * 1280 + (k + 0) * 64 + 0 + 48);
							const vp x0 = vp_set1(pairs[m * 32 + k + 0]);
							a0_0_0 = v_dot2(a0_0_0, x0, w0);
							a0_1_0 = v_dot2(a0_1_0, x0, w1);
							a0_2_0 = v_dot2(a0_2_0, x0, w2);
							a0_3_0 = v_dot2(a0_3_0, x0, w3);
							const vp x1 = vp_set1(pairs[(m + 1) * 32 + k + 0]);
							a1_0_0 = v_dot2(a1_0_0, x1, w0);
							a1_1_0 = v_dot2(a1_1_0, x1, w1);
							a1_2_0 = v_dot2(a1_2_0, x1, w2);
							a1_3_0 = v_dot2(a1_3_0, x1, w3);
							const vp x2 = vp_set1(pairs[(m + 2) * 32 + k + 0]);
							a2_0_0 = v_dot2(a2_0_0, x2, w0);
							a2_1_0 = v_dot2(a2_1_0, x2, w1);
							a2_2_0 = v_dot2(a2_2_0, x2, w2);
							a2_3_0 = v_dot2(a2_3_0, x2, w3);
							const vp x3 = vp_set1(pairs[(m + 3) * 32 + k + 0]);
							a3_0_0 = v_dot2(a3_0_0, x3, w0);
							a3_1_0 = v_dot2(a3_1_0, x3, w1);
							a3_2_0 = v_dot2(a3_2_0, x3, w2);
							a3_3_0 = v_dot2(a3_3_0, x3, w3);
							const vp x4 = vp_set1(pairs[(m + 4) * 32 + k + 0]);
							a4_0_0 = v_dot2(a4_0_0, x4, w0);
							a4_1_0 = v_dot2(a4_1_0, x4, w1);
							a4_2_0 = v_dot2(a4_2_0, x4, w2);
							a4_3_0 = v_dot2(a4_3_0, x4, w3);
							const vp x5 = vp_set1(pairs[(m + 5) * 32 + k + 0]);
							a5_0_0 = v_dot2(a5_0_0, x5, w0);
							a5_1_0 = v_dot2(a5_1_0, x5, w1);
							a5_2_0 = v_dot2(a5_2_0, x5, w2);
							a5_3_0 = v_dot2(a5_3_0, x5, w3);
						}
					}
					{
						v_store((py0 + 0) + m * 256 + p * 64 + 0 + 0, a0_0_0);
					}
					{
						v_store((py0 + 0) + m * 256 + p * 64 + 0 + 16, a0_1_0);
					}
					{
						v_store((py0 + 0) + m * 256 + p * 64 + 0 + 32, a0_2_0);
					}
					{
						v_store((py0 + 0) + m * 256 + p * 64 + 0 + 48, a0_3_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 256 + p * 64 + 0 + 0, a1_0_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 256 + p * 64 + 0 + 16, a1_1_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 256 + p * 64 + 0 + 32, a1_2_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 256 + p * 64 + 0 + 48, a1_3_0);
					}
					{
						v_store((py0 + 0) + (m + 2) * 256 + p * 64 + 0 + 0, a2_0_0);
					}
					{
						v_store((py0 + 0) + (m + 2) * 256 + p * 64 + 0 + 16, a2_1_0);
					}
					{
						v_store((py0 + 0) + (m + 2) * 256 + p * 64 + 0 + 32, a2_2_0);
					}
					{
						v_store((py0 + 0) + (m + 2) * 256 + p * 64 + 0 + 48, a2_3_0);
					}
					{
						v_store((py0 + 0) + (m + 3) * 256 + p * 64 + 0 + 0, a3_0_0);
					}
					{
						v_store((py0 + 0) + (m + 3) * 256 + p * 64 + 0 + 16, a3_1_0);
					}
					{
						v_store((py0 + 0) + (m + 3) * 256 + p * 64 + 0 + 32, a3_2_0);
					}
					{
						v_store((py0 + 0) + (m + 3) * 256 + p * 64 + 0 + 48, a3_3_0);
					}
					{
						v_store((py0 + 0) + (m + 4) * 256 + p * 64 + 0 + 0, a4_0_0);
					}
					{
						v_store((py0 + 0) + (m + 4) * 256 + p * 64 + 0 + 16, a4_1_0);
					}
					{
						v_store((py0 + 0) + (m + 4) * 256 + p * 64 + 0 + 32, a4_2_0);
					}
					{
						v_store((py0 + 0) + (m + 4) * 256 + p * 64 + 0 + 48, a4_3_0);
					}
					{
						v_store((py0 + 0) + (m + 5) * 256 + p * 64 + 0 + 0, a5_0_0);
					}
					{
						v_store((py0 + 0) + (m + 5) * 256 + p * 64 + 0 + 16, a5_1_0);
					}
					{
						v_store((py0 + 0) + (m + 5) * 256 + p * 64 + 0 + 32, a5_2_0);
					}
					{
						v_store((py0 + 0) + (m + 5) * 256 + p * 64 + 0 + 48, a5_3_0);
					}
				}
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 0);
	const float * px3 = (const float *)(weights + 21504);
	const float * px4 = (const float *)(weights + 21504);
	float * py0 = (float *)(scratch + 18432);
	float * py1 = (float *)out[0];
	float * py2 = (float *)out[0] + 64;
	const uint32_t *const w = (const uint32_t *)(weights + 21760);
	const float *const bias = (const float *)(weights + 54528);
	(void)bias;
	_Alignas(64) uint32_t pairs[32];
	{
		enum { t = 0 };
		float *const cell = py2 + t * 128;
		memcpy(cell, px4 + t * 0, 64 * sizeof(float));
		for (int s = 0; s < 18; ++s) {
			const int now = s;
			const float *const gate = px0 + t * 4608 + now * 256;
			float *const y = py0 + t * 1152 + now * 64;
			const float *const previous = s == 0 ? px3 + t * 0 : py0 + t * 1152 + (now - 1) * 64;
			pairs_of_row(pairs, previous, 64);
			for (int a = 0; a < 4; ++a) {
				const int b = s & 1 ? 3 - a : a;
				{
					vf g0_0_0 = v_load(gate + 0 + b * 16 + 0);
					vf g1_0_0 = v_load(gate + 64 + b * 16 + 0);
					vf g2_0_0 = v_load(gate + 128 + b * 16 + 0);
					vf g3_0_0 = v_load(gate + 192 + b * 16 + 0);
					vf g0_0_1 = v_set1(0.0f);
					vf g1_0_1 = v_set1(0.0f);
					vf g2_0_1 = v_set1(0.0f);
					vf g3_0_1 = v_set1(0.0f);
					for (int k = 0; k < 32; k += 2) {
						{
							const vp x = vp_set1(pairs[(k + 0)]);
							g0_0_0 = v_dot2(g0_0_0, x, vp_load(w + b * 2048 + (k + 0) * 64 + 0));
							g1_0_0 = v_dot2(g1_0_0, x, vp_load(w + b * 2048 + (k + 0) * 64 + 16));
							g2_0_0 = v_dot2(g2_0_0, x, vp_load(w + b * 2048 + (k + 0) * 64 + 32));
							g3_0_0 = v_dot2(g3_0_0, x, vp_load(w + b * 2048 + (k + 0) * 64 + 48));
						}
						{
							const vp x = vp_set1(pairs[(k + 1)]);
							g0_0_1 = v_dot2(g0_0_1, x, vp_load(w + b * 2048 + (k + 1) * 64 + 0));
							g1_0_1 = v_dot2(g1_0_1, x, vp_load(w + b * 2048 + (k + 1) * 64 + 16));
							g2_0_1 = v_dot2(g2_0_1, x, vp_load(w + b * 2048 + (k + 1) * 64 + 32));
							g3_0_1 = v_dot2(g3_0_1, x, vp_load(w + b * 2048 + (k + 1) * 64 + 48));
						}
					}
					g0_0_0 += g0_0_1;
					g1_0_0 += g1_0_1;
					g2_0_0 += g2_0_1;
					g3_0_0 += g3_0_1;
					{
						const vf keep = v_sigmoid(g1_0_0) * v_load(cell + b * 16 + 0);
						const vf c = v_fma(v_sigmoid(g0_0_0), v_tanh(g2_0_0), keep);
						v_store(cell + b * 16 + 0, c);
						const vf h = v_sigmoid(g3_0_0) * v_tanh(c);
						v_store(y + b * 16 + 0, h);
					}
				}
			}
		}
		memcpy(py1 + t * 128, py0 + t * 1152 + 1088, 64 * sizeof(float));
	}
	return 0;
}

static __attribute__((noinline)) int forward_1(const void *const *in, void *const *out, unsigned char *scratch) {
	int fault = 0;
	if ((fault = step0_1(in, out, scratch)) != 0) return fault;
	if ((fault = step1_1(in, out, scratch)) != 0) return fault;
	return fault;
}

__attribute__((visibility("default"))) REPEATABLE int invoke(
	const void *const *in, void *const *out, int64_t batch, void *scratch) {
	if (batch < 1 || batch > INT64_MAX / 5760) return 1;
	if (scratch == NULL || in[0] == NULL || out[0] == NULL) return 2;
	if ((uintptr_t)scratch % 64 != 0) return 4;
	const void *x[1];
	void *y[1];
	memcpy(x, in, sizeof x), memcpy(y, out, sizeof y);
	const float_mode mode = enter_float_mode();
	int fault = 0;
	while (batch > 0) {
		int64_t n;
		n = 1, fault = forward_1(x, y, scratch);
		if (fault != 0 || (batch -= n) == 0) break;
		x[0] = (const float *)x[0] + n * 720;
		y[0] = (float *)y[0] + n * 128;
	}
	leave_float_mode(mode);
	return fault;
}
