static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	float * py0 = (float *)(scratch + 0);
	for (int i0 = 0; i0 < 7; ++i0) {
		for (int i = 0; i < 6; ++i) {
			(py0 + i0 * 6)[i] = (px0 + i0)[i * 7];
		}
	}
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	const float * px3 = (const float *)(scratch + 0);
	float * py0 = (float *)(scratch + 192);
	{
		const float *const w = (const float *)(weights + 0);
		const float *const bias = (const float *)(weights + 768);
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				vf a1_0_0 = v_load(bias + 0 * 64 + 0 + 0);
				const float *const x0 = px0 + (m) * 1;
				const float *const x1 = px0 + ((m + 1)) * 1;
				vf a0_0_1 = v_set1(0.0f);
				vf a1_0_1 = v_set1(0.0f);
				vf a0_0_2 = v_set1(0.0f);
				vf a1_0_2 = v_set1(0.0f);
				vf a0_0_3 = v_set1(0.0f);
				vf a1_0_3 = v_set1(0.0f);
				{
					enum { k = 0 };
					{
						const vf w0 = v_load(w + 0 * 768 + 16 + (0 + 0) / 16 * 192 + (k + 0) * 32 + (0 + 0) % 16);
						const vf b0 = v_set1(x0[(k + 0) * 7]);
						a0_0_0 = v_fma(b0, w0, a0_0_0);
						const vf b1 = v_set1(x1[(k + 0) * 7]);
						a1_0_0 = v_fma(b1, w0, a1_0_0);
					}
					{
						const vf w0 = v_load(w + 0 * 768 + 16 + (0 + 0) / 16 * 192 + (k + 1) * 32 + (0 + 0) % 16);
						const vf b0 = v_set1(x0[(k + 1) * 7]);
						a0_0_1 = v_fma(b0, w0, a0_0_1);
						const vf b1 = v_set1(x1[(k + 1) * 7]);
						a1_0_1 = v_fma(b1, w0, a1_0_1);
					}
					{
						const vf w0 = v_load(w + 0 * 768 + 16 + (0 + 0) / 16 * 192 + (k + 2) * 32 + (0 + 0) % 16);
						const vf b0 = v_set1(x0[(k + 2) * 7]);
						a0_0_2 = v_fma(b0, w0, a0_0_2);
						const vf b1 = v_set1(x1[(k + 2) * 7]);
						a1_0_2 = v_fma(b1, w0, a1_0_2);
					}
					{
						const vf w0 = v_load(w + 0 * 768 + 16 + (0 + 0) / 16 * 192 + (k + 3) * 32 + (0 + 0) % 16);
						const vf b0 = v_set1(x0[(k + 3) * 7]);
						a0_0_3 = v_fma(b0, w0, a0_0_3);
						const vf b1 = v_set1(x1[(k + 3) * 7]);
						a1_0_3 = v_fma(b1, w0, a1_0_3);
					}
				}
				{
					const vf w0 = v_load(w + 0 * 768 + 16 + (0 + 0) / 16 * 192 + (4) * 32 + (0 + 0) % 16);
					const vf b0 = v_set1(x0[(4) * 7]);
					a0_0_0 = v_fma(b0, w0, a0_0_0);
					const vf b1 = v_set1(x1[(4) * 7]);
					a1_0_0 = v_fma(b1, w0, a1_0_0);
				}
				{
					const vf w0 = v_load(w + 0 * 768 + 16 + (0 + 0) / 16 * 192 + (5) * 32 + (0 + 0) % 16);
					const vf b0 = v_set1(x0[(5) * 7]);
					a0_0_1 = v_fma(b0, w0, a0_0_1);
					const vf b1 = v_set1(x1[(5) * 7]);
					a1_0_1 = v_fma(b1, w0, a1_0_1);
				}
				a0_0_0 += a0_0_2;
				a1_0_0 += a1_0_2;
				a0_0_1 += a0_0_3;
				a1_0_1 += a1_0_3;
				a0_0_0 += a0_0_1;
				a1_0_0 += a1_0_1;
				{
					const vf e0 = v_load_n(px3 + 0 * 64 + (m) * 6 + 0 + 0, 6);
					vf t0 = (e0 + a0_0_0);
					vf t1 = v_relu(t0);
					v_store_n(py0 + (m) * 6 + 0 * 64 + 0 + 0, t1, 6);
				}
				{
					const vf e0 = v_load_n(px3 + 0 * 64 + ((m + 1)) * 6 + 0 + 0, 6);
					vf t0 = (e0 + a1_0_0);
					vf t1 = v_relu(t0);
					v_store_n(py0 + ((m + 1)) * 6 + 0 * 64 + 0 + 0, t1, 6);
				}
			}
		}
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a1_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a2_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a3_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				const float *const x0 = px0 + (m) * 1;
				const float *const x1 = px0 + ((m + 1)) * 1;
				const float *const x2 = px0 + ((m + 2)) * 1;
				const float *const x3 = px0 + ((m + 3)) * 1;
				vf a0_0_1 = v_set1(0.0f);
				vf a1_0_1 = v_set1(0.0f);
				vf a2_0_1 = v_set1(0.0f);
				vf a3_0_1 = v_set1(0.0f);
				for (int t0 = 0; t0 < 6; ++t0) {
					const int64_t at = t0 * 7;
					const float *const there = w + 0 * 192 + 0 + t0 * 32;
					{
						enum { k = 0 };
						{
							const vf w0 = v_load(there + (0 + 0) / 16 * 192 + (k + 0) * 16 + (0 + 0) % 16);
							const vf b0 = v_set1(x0[at + (k + 0) * 2]);
							a0_0_0 = v_fma(b0, w0, a0_0_0);
							const vf b1 = v_set1(x1[at + (k + 0) * 2]);
							a1_0_0 = v_fma(b1, w0, a1_0_0);
							const vf b2 = v_set1(x2[at + (k + 0) * 2]);
							a2_0_0 = v_fma(b2, w0, a2_0_0);
							const vf b3 = v_set1(x3[at + (k + 0) * 2]);
							a3_0_0 = v_fma(b3, w0, a3_0_0);
						}
						{
							const vf w0 = v_load(there + (0 + 0) / 16 * 192 + (k + 1) * 16 + (0 + 0) % 16);
							const vf b0 = v_set1(x0[at + (k + 1) * 2]);
							a0_0_1 = v_fma(b0, w0, a0_0_1);
							const vf b1 = v_set1(x1[at + (k + 1) * 2]);
							a1_0_1 = v_fma(b1, w0, a1_0_1);
							const vf b2 = v_set1(x2[at + (k + 1) * 2]);
							a2_0_1 = v_fma(b2, w0, a2_0_1);
							const vf b3 = v_set1(x3[at + (k + 1) * 2]);
							a3_0_1 = v_fma(b3, w0, a3_0_1);
						}
					}
				}
				a0_0_0 += a0_0_1;
				a1_0_0 += a1_0_1;
				a2_0_0 += a2_0_1;
				a3_0_0 += a3_0_1;
				{
					const vf e0 = v_load_n(px3 + 12 + 0 * 16 + (m) * 6 + 0 + 0, 6);
					vf t0 = (e0 + a0_0_0);
					vf t1 = v_relu(t0);
					v_store_n(py0 + 12 + (m) * 6 + 0 * 16 + 0 + 0, t1, 6);
				}
				{
					const vf e0 = v_load_n(px3 + 12 + 0 * 16 + ((m + 1)) * 6 + 0 + 0, 6);
					vf t0 = (e0 + a1_0_0);
					vf t1 = v_relu(t0);
					v_store_n(py0 + 12 + ((m + 1)) * 6 + 0 * 16 + 0 + 0, t1, 6);
				}
				{
					const vf e0 = v_load_n(px3 + 12 + 0 * 16 + ((m + 2)) * 6 + 0 + 0, 6);
					vf t0 = (e0 + a2_0_0);
					vf t1 = v_relu(t0);
					v_store_n(py0 + 12 + ((m + 2)) * 6 + 0 * 16 + 0 + 0, t1, 6);
				}
				{
					const vf e0 = v_load_n(px3 + 12 + 0 * 16 + ((m + 3)) * 6 + 0 + 0, 6);
					vf t0 = (e0 + a3_0_0);
					vf t1 = v_relu(t0);
					v_store_n(py0 + 12 + ((m + 3)) * 6 + 0 * 16 + 0 + 0, t1, 6);
				}
			}
		}
		{
			vf a0_0_0 = v_load(bias + 0 * 16 + 0 + 0);
			const float *const x0 = px0 + (4) * 1;
			vf a0_0_1 = v_set1(0.0f);
			for (int t0 = 0; t0 < 6; ++t0) {
				const int64_t at = t0 * 7;
				const float *const there = w + 0 * 192 + 0 + t0 * 32;
				{
					enum { k = 0 };
					{
						const vf w0 = v_load(there + (0 + 0) / 16 * 192 + (k + 0) * 16 + (0 + 0) % 16);
						const vf b0 = v_set1(x0[at + (k + 0) * 2]);
						a0_0_0 = v_fma(b0, w0, a0_0_0);
					}
					{
						const vf w0 = v_load(there + (0 + 0) / 16 * 192 + (k + 1) * 16 + (0 + 0) % 16);
						const vf b0 = v_set1(x0[at + (k + 1) * 2]);
						a0_0_1 = v_fma(b0, w0, a0_0_1);
					}
				}
			}
			a0_0_0 += a0_0_1;
			{
				const vf e0 = v_load_n(px3 + 12 + 0 * 16 + (4) * 6 + 0 + 0, 6);
				vf t0 = (e0 + a0_0_0);
				vf t1 = v_relu(t0);
				v_store_n(py0 + 12 + (4) * 6 + 0 * 16 + 0 + 0, t1, 6);
			}
		}
	}
	return 0;
}

static __attribute__((noinline)) int step2_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 192);
	float * py0 = (float *)(scratch + 0);
	{
		const float *const w = (const float *)(weights + 1024);
		const float *const bias = (const float *)(weights + 1792);
		{
			enum { m = 0 };
			{
				vf a0_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a1_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a2_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a3_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a4_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				vf a5_0_0 = v_load(bias + 0 * 16 + 0 + 0);
				const float *const x0 = px0 + (m) * 6;
				const float *const x1 = px0 + ((m + 1)) * 6;
				const float *const x2 = px0 + ((m + 2)) * 6;
				const float *const x3 = px0 + ((m + 3)) * 6;
				const float *const x4 = px0 + ((m + 4)) * 6;
				const float *const x5 = px0 + ((m + 5)) * 6;
				for (int k = 0; k < 12; ++k) {
					{
						const vf w0 = v_load(w + 0 * 192 + 0 + (0 + 0) / 16 * 192 + (k + 0) * 16 + (0 + 0) % 16);
						const vf b0 = v_set1(x0[(k + 0) * 1]);
						a0_0_0 = v_fma(b0, w0, a0_0_0);
						const vf b1 = v_set1(x1[(k + 0) * 1]);
						a1_0_0 = v_fma(b1, w0, a1_0_0);
						const vf b2 = v_set1(x2[(k + 0) * 1]);
						a2_0_0 = v_fma(b2, w0, a2_0_0);
						const vf b3 = v_set1(x3[(k + 0) * 1]);
						a3_0_0 = v_fma(b3, w0, a3_0_0);
						const vf b4 = v_set1(x4[(k + 0) * 1]);
						a4_0_0 = v_fma(b4, w0, a4_0_0);
						const vf b5 = v_set1(x5[(k + 0) * 1]);
						a5_0_0 = v_fma(b5, w0, a5_0_0);
					}
				}
				{
					v_store_n(py0 + (m) * 5 + 0 * 16 + 0 + 0, a0_0_0, 5);
				}
				{
					v_store_n(py0 + ((m + 1)) * 5 + 0 * 16 + 0 + 0, a1_0_0, 5);
				}
				{
					v_store_n(py0 + ((m + 2)) * 5 + 0 * 16 + 0 + 0, a2_0_0, 5);
				}
				{
					v_store_n(py0 + ((m + 3)) * 5 + 0 * 16 + 0 + 0, a3_0_0, 5);
				}
				{
					v_store_n(py0 + ((m + 4)) * 5 + 0 * 16 + 0 + 0, a4_0_0, 5);
				}
				{
					v_store_n(py0 + ((m + 5)) * 5 + 0 * 16 + 0 + 0, a5_0_0, 5);
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
	for (int i0 = 0; i0 < 5; ++i0) {
		for (int i = 0; i < 6; ++i) {
			(py0 + i0 * 6)[i] = (px0 + i0)[i * 5];
		}
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
	if (batch < 1 || batch > INT64_MAX / 336) return 1;
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
		x[0] = (const float *)x[0] + n * 42;
		y[0] = (float *)y[0] + n * 30;
	}
	leave_float_mode(mode);
	return fault;
}
