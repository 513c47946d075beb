static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	float * py0 = (float *)(scratch + 0);
	{
		const float *const w = (const float *)(weights + 0);
		const float *const bias = (const float *)(weights + 1280);
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a0_1_0 = v_load(bias + 0 * 64 + 0 + 16);
				vf a0_0_1 = v_set1(0.0f);
				vf a0_1_1 = v_set1(0.0f);
				vf a0_0_2 = v_set1(0.0f);
				vf a0_1_2 = v_set1(0.0f);
				vf a0_0_3 = v_set1(0.0f);
				vf a0_1_3 = v_set1(0.0f);
				for (int k = 0; k < 8; k += 4) {
					{
						const vf w0 = v_load(w + 0 * 640 + (k + 0) * 32 + 0 + 0);
						const vf w1 = v_load(w + 0 * 640 + (k + 0) * 32 + 0 + 16);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 0]);
						a0_0_0 = v_fma(b0, w0, a0_0_0);
						a0_1_0 = v_fma(b0, w1, a0_1_0);
					}
					{
						const vf w0 = v_load(w + 0 * 640 + (k + 1) * 32 + 0 + 0);
						const vf w1 = v_load(w + 0 * 640 + (k + 1) * 32 + 0 + 16);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 1]);
						a0_0_1 = v_fma(b0, w0, a0_0_1);
						a0_1_1 = v_fma(b0, w1, a0_1_1);
					}
					{
						const vf w0 = v_load(w + 0 * 640 + (k + 2) * 32 + 0 + 0);
						const vf w1 = v_load(w + 0 * 640 + (k + 2) * 32 + 0 + 16);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 2]);
						a0_0_2 = v_fma(b0, w0, a0_0_2);
						a0_1_2 = v_fma(b0, w1, a0_1_2);
					}
					{
						const vf w0 = v_load(w + 0 * 640 + (k + 3) * 32 + 0 + 0);
						const vf w1 = v_load(w + 0 * 640 + (k + 3) * 32 + 0 + 16);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 3]);
						a0_0_3 = v_fma(b0, w0, a0_0_3);
						a0_1_3 = v_fma(b0, w1, a0_1_3);
					}
				}
				{
					const vf w0 = v_load(w + 0 * 640 + (8) * 32 + 0 + 0);
					const vf w1 = v_load(w + 0 * 640 + (8) * 32 + 0 + 16);
					const vf b0 = v_set1((px0 + 0)[m * 0 + 8]);
					a0_0_0 = v_fma(b0, w0, a0_0_0);
					a0_1_0 = v_fma(b0, w1, a0_1_0);
				}
				{
					const vf w0 = v_load(w + 0 * 640 + (9) * 32 + 0 + 0);
					const vf w1 = v_load(w + 0 * 640 + (9) * 32 + 0 + 16);
					const vf b0 = v_set1((px0 + 0)[m * 0 + 9]);
					a0_0_1 = v_fma(b0, w0, a0_0_1);
					a0_1_1 = v_fma(b0, w1, a0_1_1);
				}
				a0_0_0 += a0_0_2;
				a0_1_0 += a0_1_2;
				a0_0_1 += a0_0_3;
				a0_1_1 += a0_1_3;
				a0_0_0 += a0_0_1;
				a0_1_0 += a0_1_1;
				{
					v_store((py0 + 0) + m * 0 + 0 * 64 + 0 + 0, a0_0_0);
				}
				{
					v_store_n((py0 + 0) + m * 0 + 0 * 64 + 0 + 16, a0_1_0, 2);
				}
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 0);
	const float * px1 = (const float *)(weights + 1536);
	const float * px2 = (const float *)(weights + 1664);
	float * py0 = (float *)(scratch + 128);
	vf sum0 = v_set1(0.0f);
	{
		enum { i = 0 };
		sum0 += v_load((px0 + 0) + i);
	}
	{
		sum0 += v_load_n((px0 + 0) + 16, 2);
	}
	const vf mean0 = v_set1(v_sum(sum0) * 0x1.c71c71c71c71cp-5f);
	vf square0 = v_set1(0.0f);
	{
		enum { i = 0 };
		const vf d0 = v_load((px0 + 0) + i) - mean0;
		square0 = v_fma(d0, d0, square0);
	}
	{
		const vf d0 = v_fill(v_load_n((px0 + 0) + 16, 2) - mean0, 2, 0.0f);
		square0 = v_fma(d0, d0, square0);
	}
	const float variance0 = v_sum(square0) * 0x1.c71c71c71c71cp-5f;
	const vf scale0 = v_set1(1.0f / sqrtf(variance0 + 1e-05f));
	{
		enum { i = 0 };
		const vf n = v_fma((v_load((px0 + 0) + i) - mean0) * scale0, v_load((px1 + 0) + i), v_load((px2 + 0) + i));
		vf t0 = v_tanh(n);
		v_store((py0 + 0) + i, t0);
	}
	{
		const vf n = v_fma((v_load_n((px0 + 0) + 16, 2) - mean0) * scale0, v_load_n((px1 + 0) + 16, 2), v_load_n((px2 + 0) + 16, 2));
		vf t0 = v_tanh(n);
		v_store_n((py0 + 0) + 16, t0, 2);
	}
	return 0;
}

static __attribute__((noinline)) int step2_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 128);
	float * py0 = (float *)(scratch + 0);
	{
		const float *const w = (const float *)(weights + 1792);
		const float *const bias = (const float *)(weights + 2944);
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a0_0_1 = v_set1(0.0f);
				vf a0_0_2 = v_set1(0.0f);
				vf a0_0_3 = v_set1(0.0f);
				vf a0_0_4 = v_set1(0.0f);
				vf a0_0_5 = v_set1(0.0f);
				vf a0_0_6 = v_set1(0.0f);
				vf a0_0_7 = v_set1(0.0f);
				for (int k = 0; k < 16; k += 8) {
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 0) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 0]);
						a0_0_0 = v_fma(b0, w0, a0_0_0);
					}
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 1) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 1]);
						a0_0_1 = v_fma(b0, w0, a0_0_1);
					}
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 2) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 2]);
						a0_0_2 = v_fma(b0, w0, a0_0_2);
					}
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 3) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 3]);
						a0_0_3 = v_fma(b0, w0, a0_0_3);
					}
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 4) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 4]);
						a0_0_4 = v_fma(b0, w0, a0_0_4);
					}
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 5) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 5]);
						a0_0_5 = v_fma(b0, w0, a0_0_5);
					}
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 6) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 6]);
						a0_0_6 = v_fma(b0, w0, a0_0_6);
					}
					{
						const vf w0 = v_load(w + 0 * 1152 + (k + 7) * 16 + 0 + 0);
						const vf b0 = v_set1((px0 + 0)[m * 0 + k + 7]);
						a0_0_7 = v_fma(b0, w0, a0_0_7);
					}
				}
				{
					const vf w0 = v_load(w + 0 * 1152 + (16) * 16 + 0 + 0);
					const vf b0 = v_set1((px0 + 0)[m * 0 + 16]);
					a0_0_0 = v_fma(b0, w0, a0_0_0);
				}
				{
					const vf w0 = v_load(w + 0 * 1152 + (17) * 16 + 0 + 0);
					const vf b0 = v_set1((px0 + 0)[m * 0 + 17]);
					a0_0_1 = v_fma(b0, w0, a0_0_1);
				}
				a0_0_0 += a0_0_4;
				a0_0_1 += a0_0_5;
				a0_0_2 += a0_0_6;
				a0_0_3 += a0_0_7;
				a0_0_0 += a0_0_2;
				a0_0_1 += a0_0_3;
				a0_0_0 += a0_0_1;
				{
					v_store_n((py0 + 0) + m * 0 + 0 * 64 + 0 + 0, a0_0_0, 3);
				}
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int step3_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 0);
	float * py0 = (float *)out[0];
	vf top = v_set1(-INFINITY), sum = v_set1(0.0f);
	{
		top = v_max_second(v_fill(v_load_n((px0 + 0) + 0, 3), 3, -INFINITY), top);
	}
	const vf peak = v_set1(v_highest(top));
	{
		const vf e = v_exp(v_load_n((px0 + 0) + 0, 3) - peak);
		v_store_n((py0 + 0) + 0, e, 3);
		sum += v_fill(e, 3, 0.0f);
	}
	const vf share = v_set1(1.0f / v_sum(sum));
	{
		v_store_n((py0 + 0) + 0, v_load_n((py0 + 0) + 0, 3) * share, 3);
	}
	return 0;
}

static __attribute__((noinline)) int forward_1(const void *const *in, void *const *out, unsigned char *scratch) {
	int fault = 0;
	if ((fault = step0_1(in, out, scratch)) != 0) return fault;
	if ((fault = step1_1(in, out, scratch)) != 0) return fault;
	if ((fault = step2_1(in, out, scratch)) != 0) return fault;
	if ((fault = step3_1(in, out, scratch)) != 0) return fault;
	return fault;
}

__attribute__((visibility("default"))) REPEATABLE int invoke(
	const void *const *in, void *const *out, int64_t batch, void *scratch) {
	if (batch < 1 || batch > INT64_MAX / 80) return 1;
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
		y[0] = (float *)y[0] + n * 3;
	}
	leave_float_mode(mode);
	return fault;
}
