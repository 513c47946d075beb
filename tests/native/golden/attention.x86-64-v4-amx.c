static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	float * py0 = (float *)(scratch + 0);
	{
		const uint32_t *const w = (const uint32_t *)(weights + 0);
		const float *const bias = (const float *)(weights + 512);
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a0_1_0 = v_load(bias + 0 * 64 + 0 + 16);
				vf a1_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a1_1_0 = v_load(bias + 0 * 64 + 0 + 16);
				vf a0_0_1 = v_set1(0.0f);
				vf a0_1_1 = v_set1(0.0f);
				vf a1_0_1 = v_set1(0.0f);
				vf a1_1_1 = v_set1(0.0f);
				for (int k = 0; k < 4; k += 2) {
					{
						const vf even0 = v_bf16_even(w + 0 * 256 + (k + 0) * 32 + 0 + 0);
						const vf even1 = v_bf16_even(w + 0 * 256 + (k + 0) * 32 + 0 + 16);
						const vf even_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 0) + 0]);
						a0_0_0 = v_fma(even_b0, even0, a0_0_0);
						a0_1_0 = v_fma(even_b0, even1, a0_1_0);
						const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 0) + 0]);
						a1_0_0 = v_fma(even_b1, even0, a1_0_0);
						a1_1_0 = v_fma(even_b1, even1, a1_1_0);
						const vf odd0 = v_bf16_odd(w + 0 * 256 + (k + 0) * 32 + 0 + 0);
						const vf odd1 = v_bf16_odd(w + 0 * 256 + (k + 0) * 32 + 0 + 16);
						const vf odd_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 0) + 1]);
						a0_0_0 = v_fma(odd_b0, odd0, a0_0_0);
						a0_1_0 = v_fma(odd_b0, odd1, a0_1_0);
						const vf odd_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 0) + 1]);
						a1_0_0 = v_fma(odd_b1, odd0, a1_0_0);
						a1_1_0 = v_fma(odd_b1, odd1, a1_1_0);
					}
					{
						const vf even0 = v_bf16_even(w + 0 * 256 + (k + 1) * 32 + 0 + 0);
						const vf even1 = v_bf16_even(w + 0 * 256 + (k + 1) * 32 + 0 + 16);
						const vf even_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 1) + 0]);
						a0_0_1 = v_fma(even_b0, even0, a0_0_1);
						a0_1_1 = v_fma(even_b0, even1, a0_1_1);
						const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 1) + 0]);
						a1_0_1 = v_fma(even_b1, even0, a1_0_1);
						a1_1_1 = v_fma(even_b1, even1, a1_1_1);
						const vf odd0 = v_bf16_odd(w + 0 * 256 + (k + 1) * 32 + 0 + 0);
						const vf odd1 = v_bf16_odd(w + 0 * 256 + (k + 1) * 32 + 0 + 16);
						const vf odd_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 1) + 1]);
						a0_0_1 = v_fma(odd_b0, odd0, a0_0_1);
						a0_1_1 = v_fma(odd_b0, odd1, a0_1_1);
						const vf odd_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 1) + 1]);
						a1_0_1 = v_fma(odd_b1, odd0, a1_0_1);
						a1_1_1 = v_fma(odd_b1, odd1, a1_1_1);
					}
				}
				a0_0_0 += a0_0_1;
				a0_1_0 += a0_1_1;
				a1_0_0 += a1_0_1;
				a1_1_0 += a1_1_1;
				{
					v_store((py0 + 0) + m * 24 + 0 * 64 + 0 + 0, a0_0_0);
				}
				{
					v_store_n((py0 + 0) + m * 24 + 0 * 64 + 0 + 16, a0_1_0, 8);
				}
				{
					v_store((py0 + 0) + (m + 1) * 24 + 0 * 64 + 0 + 0, a1_0_0);
				}
				{
					v_store_n((py0 + 0) + (m + 1) * 24 + 0 * 64 + 0 + 16, a1_1_0, 8);
				}
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 0);
	const float * px1 = (const float *)(scratch + 0) + 8;
	const float * px2 = (const float *)(scratch + 0) + 16;
	const float * px3 = (const float *)(weights + 768);
	float * py0 = (float *)(scratch + 192);
	unsigned char *const work = scratch + 256;
	{
		float *const scores = (float *)(work + 0);
		float *const shares = (float *)(work + 128);
		float *const turned = (float *)(work + 192);
		for (int i0 = 0; i0 < 2; ++i0) {
			turn(turned, 16, (px1 + i0 * 4), 24, 2, 4);
			{
				enum { m = 0 };
				{
					const float *const q = (px0 + i0 * 4) + m * 24;
					float *const y = (py0 + i0 * 4) + m * 8;
					const float *const extra0 = (px3 + 0) + m * 2;
					enum { first = 0, last = 2 };
					{
						vf a0_0_0 = v_set1(0.0f);
						vf a1_0_0 = v_set1(0.0f);
						vf a0_0_1 = v_set1(0.0f);
						vf a1_0_1 = v_set1(0.0f);
						vf a0_0_2 = v_set1(0.0f);
						vf a1_0_2 = v_set1(0.0f);
						vf a0_0_3 = v_set1(0.0f);
						vf a1_0_3 = v_set1(0.0f);
						{
							enum { k = 0 };
							{
								const vf w0 = v_load(turned + (k + 0) * 16 + 0 + 0);
								const vf b0 = v_set1(q[0 * 24 + k + 0]);
								a0_0_0 = v_fma(b0, w0, a0_0_0);
								const vf b1 = v_set1(q[(0 + 1) * 24 + k + 0]);
								a1_0_0 = v_fma(b1, w0, a1_0_0);
							}
							{
								const vf w0 = v_load(turned + (k + 1) * 16 + 0 + 0);
								const vf b0 = v_set1(q[0 * 24 + k + 1]);
								a0_0_1 = v_fma(b0, w0, a0_0_1);
								const vf b1 = v_set1(q[(0 + 1) * 24 + k + 1]);
								a1_0_1 = v_fma(b1, w0, a1_0_1);
							}
							{
								const vf w0 = v_load(turned + (k + 2) * 16 + 0 + 0);
								const vf b0 = v_set1(q[0 * 24 + k + 2]);
								a0_0_2 = v_fma(b0, w0, a0_0_2);
								const vf b1 = v_set1(q[(0 + 1) * 24 + k + 2]);
								a1_0_2 = v_fma(b1, w0, a1_0_2);
							}
							{
								const vf w0 = v_load(turned + (k + 3) * 16 + 0 + 0);
								const vf b0 = v_set1(q[0 * 24 + k + 3]);
								a0_0_3 = v_fma(b0, w0, a0_0_3);
								const vf b1 = v_set1(q[(0 + 1) * 24 + k + 3]);
								a1_0_3 = v_fma(b1, w0, a1_0_3);
							}
						}
						a0_0_0 += a0_0_2;
						a1_0_0 += a1_0_2;
						a0_0_1 += a0_0_3;
						a1_0_1 += a1_0_3;
						a0_0_0 += a0_0_1;
						a1_0_0 += a1_0_1;
						{
							const vf e0 = v_load_n(extra0 + 0 * 2 + 0 + 0, 2);
							vm t0 = v_gt(e0, v_set1(0.0f));
							vf t1 = (a0_0_0 * v_set1(0.5f));
							vf t2 = v_select(t0, t1, v_set1(-INFINITY));
							v_store_n(scores + 0 * 16 + 0 + 0, t2, 2);
						}
						{
							const vf e0 = v_load_n(extra0 + (0 + 1) * 2 + 0 + 0, 2);
							vm t0 = v_gt(e0, v_set1(0.0f));
							vf t1 = (a1_0_0 * v_set1(0.5f));
							vf t2 = v_select(t0, t1, v_set1(-INFINITY));
							v_store_n(scores + (0 + 1) * 16 + 0 + 0, t2, 2);
						}
					}
					{
						enum { r = 0 };
						float *const row0 = scores + (r + 0) * 16;
						v_store(row0 + 0, v_fill(v_load(row0 + 0), 2, -INFINITY));
						vf highest0 = v_set1(-INFINITY), sum0 = v_set1(0.0f);
						float *const row1 = scores + (r + 1) * 16;
						v_store(row1 + 0, v_fill(v_load(row1 + 0), 2, -INFINITY));
						vf highest1 = v_set1(-INFINITY), sum1 = v_set1(0.0f);
						for (int n = first; n < last; n += 16) {
							highest0 = v_max_second(v_load(row0 + n), highest0);
							highest1 = v_max_second(v_load(row1 + n), highest1);
						}
						const float top0 = v_highest(highest0);
						const vf peak0 = v_set1(top0);
						const float top1 = v_highest(highest1);
						const vf peak1 = v_set1(top1);
						for (int n = first; n < last; n += 16) {
							const vf e0 = v_exp(v_load(row0 + n) - peak0);
							const vf e1 = v_exp(v_load(row1 + n) - peak1);
							v_store(row0 + n, e0);
							sum0 += e0;
							v_store(row1 + n, e1);
							sum1 += e1;
						}
						const float total0 = v_sum(sum0);
						shares[r + 0] = 1.0f / total0;
						const float total1 = v_sum(sum1);
						shares[r + 1] = 1.0f / total1;
					}
					{
						vf a0_0_0 = v_set1(0.0f);
						vf a1_0_0 = v_set1(0.0f);
						vf a0_0_1 = v_set1(0.0f);
						vf a1_0_1 = v_set1(0.0f);
						{
							enum { k = 0 };
							{
								const vf w0 = v_load_n((px2 + i0 * 4) + (k + 0) * 24 + 0 + 0, 4);
								const vf b0 = v_set1(scores[0 * 16 + k + 0]);
								a0_0_0 = v_fma(b0, w0, a0_0_0);
								const vf b1 = v_set1(scores[(0 + 1) * 16 + k + 0]);
								a1_0_0 = v_fma(b1, w0, a1_0_0);
							}
							{
								const vf w0 = v_load_n((px2 + i0 * 4) + (k + 1) * 24 + 0 + 0, 4);
								const vf b0 = v_set1(scores[0 * 16 + k + 1]);
								a0_0_1 = v_fma(b0, w0, a0_0_1);
								const vf b1 = v_set1(scores[(0 + 1) * 16 + k + 1]);
								a1_0_1 = v_fma(b1, w0, a1_0_1);
							}
						}
						a0_0_0 += a0_0_1;
						a1_0_0 += a1_0_1;
						{
							const vf e0 = v_set1(*(shares + 0 * 1));
							vf t0 = (a0_0_0 * e0);
							v_store_n(y + 0 * 8 + 0 + 0, t0, 4);
						}
						{
							const vf e0 = v_set1(*(shares + (0 + 1) * 1));
							vf t0 = (a1_0_0 * e0);
							v_store_n(y + (0 + 1) * 8 + 0 + 0, t0, 4);
						}
					}
				}
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int step2_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 192);
	float * py0 = (float *)out[0];
	{
		const uint32_t *const w = (const uint32_t *)(weights + 832);
		const float *const bias = (const float *)(weights + 1088);
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a1_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a0_0_1 = v_set1(0.0f);
				vf a1_0_1 = v_set1(0.0f);
				vf a0_0_2 = v_set1(0.0f);
				vf a1_0_2 = v_set1(0.0f);
				vf a0_0_3 = v_set1(0.0f);
				vf a1_0_3 = v_set1(0.0f);
				{
					enum { k = 0 };
					{
						const vf even0 = v_bf16_even(w + 0 * 256 + (k + 0) * 16 + 0 + 0);
						const vf even_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 0) + 0]);
						a0_0_0 = v_fma(even_b0, even0, a0_0_0);
						const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 0) + 0]);
						a1_0_0 = v_fma(even_b1, even0, a1_0_0);
						const vf odd0 = v_bf16_odd(w + 0 * 256 + (k + 0) * 16 + 0 + 0);
						const vf odd_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 0) + 1]);
						a0_0_0 = v_fma(odd_b0, odd0, a0_0_0);
						const vf odd_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 0) + 1]);
						a1_0_0 = v_fma(odd_b1, odd0, a1_0_0);
					}
					{
						const vf even0 = v_bf16_even(w + 0 * 256 + (k + 1) * 16 + 0 + 0);
						const vf even_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 1) + 0]);
						a0_0_1 = v_fma(even_b0, even0, a0_0_1);
						const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 1) + 0]);
						a1_0_1 = v_fma(even_b1, even0, a1_0_1);
						const vf odd0 = v_bf16_odd(w + 0 * 256 + (k + 1) * 16 + 0 + 0);
						const vf odd_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 1) + 1]);
						a0_0_1 = v_fma(odd_b0, odd0, a0_0_1);
						const vf odd_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 1) + 1]);
						a1_0_1 = v_fma(odd_b1, odd0, a1_0_1);
					}
					{
						const vf even0 = v_bf16_even(w + 0 * 256 + (k + 2) * 16 + 0 + 0);
						const vf even_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 2) + 0]);
						a0_0_2 = v_fma(even_b0, even0, a0_0_2);
						const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 2) + 0]);
						a1_0_2 = v_fma(even_b1, even0, a1_0_2);
						const vf odd0 = v_bf16_odd(w + 0 * 256 + (k + 2) * 16 + 0 + 0);
						const vf odd_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 2) + 1]);
						a0_0_2 = v_fma(odd_b0, odd0, a0_0_2);
						const vf odd_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 2) + 1]);
						a1_0_2 = v_fma(odd_b1, odd0, a1_0_2);
					}
					{
						const vf even0 = v_bf16_even(w + 0 * 256 + (k + 3) * 16 + 0 + 0);
						const vf even_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 3) + 0]);
						a0_0_3 = v_fma(even_b0, even0, a0_0_3);
						const vf even_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 3) + 0]);
						a1_0_3 = v_fma(even_b1, even0, a1_0_3);
						const vf odd0 = v_bf16_odd(w + 0 * 256 + (k + 3) * 16 + 0 + 0);
						const vf odd_b0 = v_set1((px0 + 0)[m * 8 + 2 * (k + 3) + 1]);
						a0_0_3 = v_fma(odd_b0, odd0, a0_0_3);
						const vf odd_b1 = v_set1((px0 + 0)[(m + 1) * 8 + 2 * (k + 3) + 1]);
						a1_0_3 = v_fma(odd_b1, odd0, a1_0_3);
					}
				}
				a0_0_0 += a0_0_2;
				a1_0_0 += a1_0_2;
				a0_0_1 += a0_0_3;
				a1_0_1 += a1_0_3;
				a0_0_0 += a0_0_1;
				a1_0_0 += a1_0_1;
				{
					v_store_n((py0 + 0) + m * 8 + 0 * 64 + 0 + 0, a0_0_0, 8);
				}
				{
					v_store_n((py0 + 0) + (m + 1) * 8 + 0 * 64 + 0 + 0, a1_0_0, 8);
				}
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int forward_1(const void *const *in, void *const *out, unsigned char *scratch) {
	int fault = 0;
	if ((fault = step0_1(in, out, scratch)) != 0) return fault;
	if ((fault = step1_1(in, out, scratch)) != 0) return fault;
	if ((fault = step2_1(in, out, scratch)) != 0) return fault;
	return fault;
}

__attribute__((visibility("default"))) REPEATABLE int invoke(
	const void *const *in, void *const *out, int64_t batch, void *scratch) {
	if (batch < 1 || batch > INT64_MAX / 128) return 1;
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
		x[0] = (const float *)x[0] + n * 16;
		y[0] = (float *)y[0] + n * 16;
	}
	leave_float_mode(mode);
	return fault;
}
