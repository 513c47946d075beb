static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	float * py0 = (float *)(scratch + 0);
	{
		const float *const w = (const float *)(weights + 0);
		const float *const bias = (const float *)(weights + 768);
		for (int row = 0; row < 7; ++row) {
			vf s0_0 = v_set1(0.0f);
			vf s1_0 = v_set1(0.0f);
			vf s2_0 = v_set1(0.0f);
			for (int k = 0; k < 48; k += 16) {
				{
					const vf v = v_load((px0 + 0) + row * 60 + k + 0);
					s0_0 = v_fma(v, v_load(w + 0 + k + 0), s0_0);
					s1_0 = v_fma(v, v_load(w + 64 + k + 0), s1_0);
					s2_0 = v_fma(v, v_load(w + 128 + k + 0), s2_0);
				}
			}
			{
				const vf v = v_load_n((px0 + 0) + row * 60 + 48, 12);
				s0_0 = v_fma(v, v_load(w + 0 + 48), s0_0);
				s1_0 = v_fma(v, v_load(w + 64 + 48), s1_0);
				s2_0 = v_fma(v, v_load(w + 128 + 48), s2_0);
			}
			const vf total = (vf){v_sum(s0_0), v_sum(s1_0), v_sum(s2_0)} + v_load(bias);
			vf t0 = v_tanh(total);
			v_store_n((py0 + 0) + row * 3, t0, 3);
		}
	}
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 0);
	float * py0 = (float *)out[0];
	{
		const uint32_t *const w = (const uint32_t *)(weights + 832);
		const float *const bias = (const float *)(weights + 960);
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a1_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a2_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a3_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a4_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				{
					enum { k = 0 };
					{
						const vf even0 = v_bf16_even(w + 0 * 128 + (k + 0) * 16 + 0 + 0);
						const vf even_b0 = v_set1((px0 + 0)[m * 3 + 2 * (k + 0) + 0]);
						a0_0_0 = v_fma(even_b0, even0, a0_0_0);
						const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 3 + 2 * (k + 0) + 0]);
						a1_0_0 = v_fma(even_b1, even0, a1_0_0);
						const vf even_b2 = v_set1((px0 + 0)[(m + 2) * 3 + 2 * (k + 0) + 0]);
						a2_0_0 = v_fma(even_b2, even0, a2_0_0);
						const vf even_b3 = v_set1((px0 + 0)[(m + 3) * 3 + 2 * (k + 0) + 0]);
						a3_0_0 = v_fma(even_b3, even0, a3_0_0);
						const vf even_b4 = v_set1((px0 + 0)[(m + 4) * 3 + 2 * (k + 0) + 0]);
						a4_0_0 = v_fma(even_b4, even0, a4_0_0);
						const vf odd0 = v_bf16_odd(w + 0 * 128 + (k + 0) * 16 + 0 + 0);
						const vf odd_b0 = v_set1((px0 + 0)[m * 3 + 2 * (k + 0) + 1]);
						a0_0_0 = v_fma(odd_b0, odd0, a0_0_0);
						const vf odd_b1 = v_set1((px0 + 0)[(m + 1) * 3 + 2 * (k + 0) + 1]);
						a1_0_0 = v_fma(odd_b1, odd0, a1_0_0);
						const vf odd_b2 = v_set1((px0 + 0)[(m + 2) * 3 + 2 * (k + 0) + 1]);
						a2_0_0 = v_fma(odd_b2, odd0, a2_0_0);
						const vf odd_b3 = v_set1((px0 + 0)[(m + 3) * 3 + 2 * (k + 0) + 1]);
						a3_0_0 = v_fma(odd_b3, odd0, a3_0_0);
						const vf odd_b4 = v_set1((px0 + 0)[(m + 4) * 3 + 2 * (k + 0) + 1]);
						a4_0_0 = v_fma(odd_b4, odd0, a4_0_0);
					}
				}
				{
					const vf even0 = v_bf16_even(w + 0 * 128 + (1) * 16 + 0 + 0);
					const vf even_b0 = v_set1((px0 + 0)[m * 3 + 2 * (1) + 0]);
					a0_0_0 = v_fma(even_b0, even0, a0_0_0);
					const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 3 + 2 * (1) + 0]);
					a1_0_0 = v_fma(even_b1, even0, a1_0_0);
					const vf even_b2 = v_set1((px0 + 0)[(m + 2) * 3 + 2 * (1) + 0]);
					a2_0_0 = v_fma(even_b2, even0, a2_0_0);
					const vf even_b3 = v_set1((px0 + 0)[(m + 3) * 3 + 2 * (1) + 0]);
					a3_0_0 = v_fma(even_b3, even0, a3_0_0);
					const vf even_b4 = v_set1((px0 + 0)[(m + 4) * 3 + 2 * (1) + 0]);
					a4_0_0 = v_fma(even_b4, even0, a4_0_0);
				}
				{
					v_store_n((py0 + 0) + m * 5 + 0 * 64 + 0 + 0, a0_0_0, 5);
				}
				{
					v_store_n((py0 + 0) + (m + 1) * 5 + 0 * 64 + 0 + 0, a1_0_0, 5);
				}
				{
					v_store_n((py0 + 0) + (m + 2) * 5 + 0 * 64 + 0 + 0, a2_0_0, 5);
				}
				{
					v_store_n((py0 + 0) + (m + 3) * 5 + 0 * 64 + 0 + 0, a3_0_0, 5);
				}
				{
					v_store_n((py0 + 0) + (m + 4) * 5 + 0 * 64 + 0 + 0, a4_0_0, 5);
				}
			}
		}
		{
			vf a0_0_0 = v_load(bias + 0 * 64 + 0 + 0);
			vf a1_0_0 = v_load(bias + 0 * 64 + 0 + 0);
			{
				enum { k = 0 };
				{
					const vf even0 = v_bf16_even(w + 0 * 128 + (k + 0) * 16 + 0 + 0);
					const vf even_b0 = v_set1((px0 + 0)[5 * 3 + 2 * (k + 0) + 0]);
					a0_0_0 = v_fma(even_b0, even0, a0_0_0);
					const vf even_b1 = v_set1((px0 + 0)[(5 + 1) * 3 + 2 * (k + 0) + 0]);
					a1_0_0 = v_fma(even_b1, even0, a1_0_0);
					const vf odd0 = v_bf16_odd(w + 0 * 128 + (k + 0) * 16 + 0 + 0);
					const vf odd_b0 = v_set1((px0 + 0)[5 * 3 + 2 * (k + 0) + 1]);
					a0_0_0 = v_fma(odd_b0, odd0, a0_0_0);
					const vf odd_b1 = v_set1((px0 + 0)[(5 + 1) * 3 + 2 * (k + 0) + 1]);
					a1_0_0 = v_fma(odd_b1, odd0, a1_0_0);
				}
			}
			{
				const vf even0 = v_bf16_even(w + 0 * 128 + (1) * 16 + 0 + 0);
				const vf even_b0 = v_set1((px0 + 0)[5 * 3 + 2 * (1) + 0]);
				a0_0_0 = v_fma(even_b0, even0, a0_0_0);
				const vf even_b1 = v_set1((px0 + 0)[(5 + 1) * 3 + 2 * (1) + 0]);
				a1_0_0 = v_fma(even_b1, even0, a1_0_0);
			}
			{
				v_store_n((py0 + 0) + 5 * 5 + 0 * 64 + 0 + 0, a0_0_0, 5);
			}
			{
				v_store_n((py0 + 0) + (5 + 1) * 5 + 0 * 64 + 0 + 0, a1_0_0, 5);
			}
		}
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
	if (batch < 1 || batch > INT64_MAX / 3360) return 1;
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
		x[0] = (const float *)x[0] + n * 420;
		y[0] = (float *)y[0] + n * 35;
	}
	leave_float_mode(mode);
	return fault;
}
