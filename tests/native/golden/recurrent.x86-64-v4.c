static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	float * py0 = (float *)(scratch + 0);
	{
		const float *const w = (const float *)(weights + 0);
		const float *const bias = (const float *)(weights + 1600);
		{
			enum { p = 0 };
			{
				enum { m = 0 };
				{
					vf a0_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a0_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a0_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a0_3_0 = v_load(bias + p * 64 + 0 + 48);
					vf a1_0_0 = v_load(bias + p * 64 + 0 + 0);
					vf a1_1_0 = v_load(bias + p * 64 + 0 + 16);
					vf a1_2_0 = v_load(bias + p * 64 + 0 + 32);
					vf a1_3_0 = v_load(bias + p * 64 + 0 + 48);
					for (int k = 0; k < 5; ++k) {
						{
							const vf w0 = v_load(w + p * 320 + (k + 0) * 64 + 0 + 0);
							const vf w1 = v_load(w + p * 320 + (k + 0) * 64 + 0 + 16);
							const vf w2 = v_load(w + p * 320 + (k + 0) * 64 + 0 + 32);
							const vf w3 = v_load(w + p * 320 + (k + 0) * 64 + 0 + 48);
							const vf b0 = v_set1((px0 + 0)[m * 5 + k + 0]);
							a0_0_0 = v_fma(b0, w0, a0_0_0);
							a0_1_0 = v_fma(b0, w1, a0_1_0);
							a0_2_0 = v_fma(b0, w2, a0_2_0);
							a0_3_0 = v_fma(b0, w3, a0_3_0);
							const vf b1 = v_set1((px0 + 0)[(m + 1) * 5 + k + 0]);
							a1_0_0 = v_fma(b1, w0, a1_0_0);
							a1_1_0 = v_fma(b1, w1, a1_1_0);
							a1_2_0 = v_fma(b1, w2, a1_2_0);
							a1_3_0 = v_fma(b1, w3, a1_3_0);
						}
					}
					{
						v_store((py0 + 0) + m * 72 + p * 64 + 0 + 0, a0_0_0);
					}
					{
						v_store((py0 + 0) + m * 72 + p * 64 + 0 + 16, a0_1_0);
					}
					{
						v_store((py0 + 0) + m * 72 + p * 64 + 0 + 32, a0_2_0);
					}
					{
						v_store((py0 + 0) + m * 72 + p * 64 + 0 + 48, a0_3_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 72 + p * 64 + 0 + 0, a1_0_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 72 + p * 64 + 0 + 16, a1_1_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 72 + p * 64 + 0 + 32, a1_2_0);
					}
					{
						v_store((py0 + 0) + (m + 1) * 72 + p * 64 + 0 + 48, a1_3_0);
					}
				}
			}
		}
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 1 * 64 + 0 + 0);
				vf a1_0_0 = v_load(bias + 1 * 64 + 0 + 0);
				vf a0_0_1 = v_set1(0.0f);
				vf a1_0_1 = v_set1(0.0f);
				vf a0_0_2 = v_set1(0.0f);
				vf a1_0_2 = v_set1(0.0f);
				vf a0_0_3 = v_set1(0.0f);
				vf a1_0_3 = v_set1(0.0f);
				{
					enum { k = 0 };
					{
						const vf w0 = v_load(w + 1 * 320 + (k + 0) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 5 + k + 0]);
						a0_0_0 = v_fma(b0, w0, a0_0_0);
						const vf b1 = v_set1((px0 + 0)[(m + 1) * 5 + k + 0]);
						a1_0_0 = v_fma(b1, w0, a1_0_0);
					}
					{
						const vf w0 = v_load(w + 1 * 320 + (k + 1) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 5 + k + 1]);
						a0_0_1 = v_fma(b0, w0, a0_0_1);
						const vf b1 = v_set1((px0 + 0)[(m + 1) * 5 + k + 1]);
						a1_0_1 = v_fma(b1, w0, a1_0_1);
					}
					{
						const vf w0 = v_load(w + 1 * 320 + (k + 2) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 5 + k + 2]);
						a0_0_2 = v_fma(b0, w0, a0_0_2);
						const vf b1 = v_set1((px0 + 0)[(m + 1) * 5 + k + 2]);
						a1_0_2 = v_fma(b1, w0, a1_0_2);
					}
					{
						const vf w0 = v_load(w + 1 * 320 + (k + 3) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 5 + k + 3]);
						a0_0_3 = v_fma(b0, w0, a0_0_3);
						const vf b1 = v_set1((px0 + 0)[(m + 1) * 5 + k + 3]);
						a1_0_3 = v_fma(b1, w0, a1_0_3);
					}
				}
				{
					const vf w0 = v_load(w + 1 * 320 + (4) * 16 + 0 + 0);
					const vf b0 = v_set1((px0 + 0)[m * 5 + 4]);
					a0_0_0 = v_fma(b0, w0, a0_0_0);
					const vf b1 = v_set1((px0 + 0)[(m + 1) * 5 + 4]);
					a1_0_0 = v_fma(b1, w0, a1_0_0);
				}
				a0_0_0 += a0_0_2;
				a1_0_0 += a1_0_2;
				a0_0_1 += a0_0_3;
				a1_0_1 += a1_0_3;
				a0_0_0 += a0_0_1;
				a1_0_0 += a1_0_1;
				{
					v_store_n((py0 + 0) + m * 72 + 1 * 64 + 0 + 0, a0_0_0, 8);
				}
				{
					v_store_n((py0 + 0) + (m + 1) * 72 + 1 * 64 + 0 + 0, a1_0_0, 8);
				}
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 0);
	const float * px3 = (const float *)(weights + 2112);
	const float * px4 = (const float *)(weights + 2112);
	float * py0 = (float *)(scratch + 576);
	float * py1 = (float *)out[0];
	float * py2 = (float *)out[0] + 18;
	const float *const w = (const float *)(weights + 2240);
	const float *const bias = (const float *)(weights + 11456);
	(void)bias;
	{
		enum { t = 0 };
		float *const cell = py2 + t * 36;
		memcpy(cell, px4 + t * 0, 18 * sizeof(float));
		for (int s = 0; s < 2; ++s) {
			const int now = s;
			const float *const gate = px0 + t * 144 + now * 72;
			float *const y = py0 + t * 48 + now * 18;
			const float *const previous = s == 0 ? px3 + t * 0 : py0 + t * 48 + (now - 1) * 18;
			{
				enum { a = 0 };
				const int b = s & 1 ? 0 - a : a;
				{
					vf g0_0_0 = v_load(gate + 0 + b * 16 + 0);
					vf g1_0_0 = v_load(gate + 18 + b * 16 + 0);
					vf g2_0_0 = v_load(gate + 36 + b * 16 + 0);
					vf g3_0_0 = v_load(gate + 54 + b * 16 + 0);
					vf g0_0_1 = v_set1(0.0f);
					vf g1_0_1 = v_set1(0.0f);
					vf g2_0_1 = v_set1(0.0f);
					vf g3_0_1 = v_set1(0.0f);
					for (int k = 0; k < 18; k += 2) {
						{
							const vf x = v_set1(previous[(k + 0)]);
							g0_0_0 = v_fma(x, v_load(w + b * 1152 + (k + 0) * 64 + 0), g0_0_0);
							g1_0_0 = v_fma(x, v_load(w + b * 1152 + (k + 0) * 64 + 16), g1_0_0);
							g2_0_0 = v_fma(x, v_load(w + b * 1152 + (k + 0) * 64 + 32), g2_0_0);
							g3_0_0 = v_fma(x, v_load(w + b * 1152 + (k + 0) * 64 + 48), g3_0_0);
						}
						{
							const vf x = v_set1(previous[(k + 1)]);
							g0_0_1 = v_fma(x, v_load(w + b * 1152 + (k + 1) * 64 + 0), g0_0_1);
							g1_0_1 = v_fma(x, v_load(w + b * 1152 + (k + 1) * 64 + 16), g1_0_1);
							g2_0_1 = v_fma(x, v_load(w + b * 1152 + (k + 1) * 64 + 32), g2_0_1);
							g3_0_1 = v_fma(x, v_load(w + b * 1152 + (k + 1) * 64 + 48), g3_0_1);
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
			{
				vf g0_0_0 = v_load_n(gate + 0 + 16 + 0, 2);
				vf g1_0_0 = v_load_n(gate + 18 + 16 + 0, 2);
				vf g2_0_0 = v_load_n(gate + 36 + 16 + 0, 2);
				vf g3_0_0 = v_load_n(gate + 54 + 16 + 0, 2);
				vf g0_0_1 = v_set1(0.0f);
				vf g1_0_1 = v_set1(0.0f);
				vf g2_0_1 = v_set1(0.0f);
				vf g3_0_1 = v_set1(0.0f);
				for (int k = 0; k < 18; k += 2) {
					{
						const vf x = v_set1(previous[(k + 0)]);
						g0_0_0 = v_fma(x, v_load(w + 1152 + (k + 0) * 64 + 0), g0_0_0);
						g1_0_0 = v_fma(x, v_load(w + 1152 + (k + 0) * 64 + 16), g1_0_0);
						g2_0_0 = v_fma(x, v_load(w + 1152 + (k + 0) * 64 + 32), g2_0_0);
						g3_0_0 = v_fma(x, v_load(w + 1152 + (k + 0) * 64 + 48), g3_0_0);
					}
					{
						const vf x = v_set1(previous[(k + 1)]);
						g0_0_1 = v_fma(x, v_load(w + 1152 + (k + 1) * 64 + 0), g0_0_1);
						g1_0_1 = v_fma(x, v_load(w + 1152 + (k + 1) * 64 + 16), g1_0_1);
						g2_0_1 = v_fma(x, v_load(w + 1152 + (k + 1) * 64 + 32), g2_0_1);
						g3_0_1 = v_fma(x, v_load(w + 1152 + (k + 1) * 64 + 48), g3_0_1);
					}
				}
				g0_0_0 += g0_0_1;
				g1_0_0 += g1_0_1;
				g2_0_0 += g2_0_1;
				g3_0_0 += g3_0_1;
				{
					const vf keep = v_sigmoid(g1_0_0) * v_load_n(cell + 16 + 0, 2);
					const vf c = v_fma(v_sigmoid(g0_0_0), v_tanh(g2_0_0), keep);
					v_store_n(cell + 16 + 0, c, 2);
					const vf h = v_sigmoid(g3_0_0) * v_tanh(c);
					v_store_n(y + 16 + 0, h, 2);
				}
			}
		}
		memcpy(py1 + t * 36, py0 + t * 48 + 18, 18 * sizeof(float));
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
	if (batch < 1 || batch > INT64_MAX / 288) return 1;
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
		x[0] = (const float *)x[0] + n * 10;
		y[0] = (float *)y[0] + n * 36;
	}
	leave_float_mode(mode);
	return fault;
}
