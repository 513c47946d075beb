static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	uint8_t * py0 = (uint8_t *)(scratch + 0);
	float * py1 = (float *)(scratch + 9472);
	quantize_rows(px0 + 0, 256, 37, 256, py0 + 0, 256, py1 + 0, 1);
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const uint8_t * px0 = (const uint8_t *)(scratch + 0);
	const float * px1 = (const float *)(scratch + 9472);
	float * py0 = (float *)out[0];
	{
		const int32_t *const start = (const int32_t *)(weights + 8192);
		const float *const weight_scales = (const float *)(weights + 8448);
		const float *const bias = (const float *)(weights + 8704);
		{
			const uint32_t *const w = (const uint32_t *)(weights + 0);
			for (int m = 0; m < 36; m += 4) {
				{
					vi a0_0_0 = vi_start(start + 0 + 0 + 0);
					vi a0_1_0 = vi_start(start + 0 + 0 + 8);
					vi a0_2_0 = vi_start(start + 0 + 0 + 16);
					vi a1_0_0 = vi_start(start + 0 + 0 + 0);
					vi a1_1_0 = vi_start(start + 0 + 0 + 8);
					vi a1_2_0 = vi_start(start + 0 + 0 + 16);
					vi a2_0_0 = vi_start(start + 0 + 0 + 0);
					vi a2_1_0 = vi_start(start + 0 + 0 + 8);
					vi a2_2_0 = vi_start(start + 0 + 0 + 16);
					vi a3_0_0 = vi_start(start + 0 + 0 + 0);
					vi a3_1_0 = vi_start(start + 0 + 0 + 8);
					vi a3_2_0 = vi_start(start + 0 + 0 + 16);
					for (int k = 0; k < 64; ++k) {
						{
							const vi w0 = vi_load(w + 0 + 0 + (k + 0) * 32 + 0);
							const vi w1 = vi_load(w + 0 + 0 + (k + 0) * 32 + 8);
							const vi w2 = vi_load(w + 0 + 0 + (k + 0) * 32 + 16);
							const vi x0 = vi_four((px0 + 0) + (m + 0) * 256 + 4 * (k + 0));
							a0_0_0 = v_dot4(a0_0_0, x0, w0);
							a0_1_0 = v_dot4(a0_1_0, x0, w1);
							a0_2_0 = v_dot4(a0_2_0, x0, w2);
							const vi x1 = vi_four((px0 + 0) + (m + 1) * 256 + 4 * (k + 0));
							a1_0_0 = v_dot4(a1_0_0, x1, w0);
							a1_1_0 = v_dot4(a1_1_0, x1, w1);
							a1_2_0 = v_dot4(a1_2_0, x1, w2);
							const vi x2 = vi_four((px0 + 0) + (m + 2) * 256 + 4 * (k + 0));
							a2_0_0 = v_dot4(a2_0_0, x2, w0);
							a2_1_0 = v_dot4(a2_1_0, x2, w1);
							a2_2_0 = v_dot4(a2_2_0, x2, w2);
							const vi x3 = vi_four((px0 + 0) + (m + 3) * 256 + 4 * (k + 0));
							a3_0_0 = v_dot4(a3_0_0, x3, w0);
							a3_1_0 = v_dot4(a3_1_0, x3, w1);
							a3_2_0 = v_dot4(a3_2_0, x3, w2);
						}
					}
					{
						const vf s = v_load(weight_scales + 0 + 0 + 0), b = v_load(bias + 0 + 0 + 0);
						const vf y0 = v_fma(v_from_vi(a0_0_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
						{
							vf t0 = v_relu(y0);
							v_store((py0 + 0) + (m + 0) * 17 + 0 + 0 + 0, t0);
						}
						const vf y1 = v_fma(v_from_vi(a1_0_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
						{
							vf t0 = v_relu(y1);
							v_store((py0 + 0) + (m + 1) * 17 + 0 + 0 + 0, t0);
						}
						const vf y2 = v_fma(v_from_vi(a2_0_0) * s, v_set1(*((px1 + 0) + (m + 2) * 1)), b);
						{
							vf t0 = v_relu(y2);
							v_store((py0 + 0) + (m + 2) * 17 + 0 + 0 + 0, t0);
						}
						const vf y3 = v_fma(v_from_vi(a3_0_0) * s, v_set1(*((px1 + 0) + (m + 3) * 1)), b);
						{
							vf t0 = v_relu(y3);
							v_store((py0 + 0) + (m + 3) * 17 + 0 + 0 + 0, t0);
						}
					}
					{
						const vf s = v_load(weight_scales + 0 + 0 + 8), b = v_load(bias + 0 + 0 + 8);
						const vf y0 = v_fma(v_from_vi(a0_1_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
						{
							vf t0 = v_relu(y0);
							v_store((py0 + 0) + (m + 0) * 17 + 0 + 0 + 8, t0);
						}
						const vf y1 = v_fma(v_from_vi(a1_1_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
						{
							vf t0 = v_relu(y1);
							v_store((py0 + 0) + (m + 1) * 17 + 0 + 0 + 8, t0);
						}
						const vf y2 = v_fma(v_from_vi(a2_1_0) * s, v_set1(*((px1 + 0) + (m + 2) * 1)), b);
						{
							vf t0 = v_relu(y2);
							v_store((py0 + 0) + (m + 2) * 17 + 0 + 0 + 8, t0);
						}
						const vf y3 = v_fma(v_from_vi(a3_1_0) * s, v_set1(*((px1 + 0) + (m + 3) * 1)), b);
						{
							vf t0 = v_relu(y3);
							v_store((py0 + 0) + (m + 3) * 17 + 0 + 0 + 8, t0);
						}
					}
					{
						const vf s = v_load(weight_scales + 0 + 0 + 16), b = v_load(bias + 0 + 0 + 16);
						const vf y0 = v_fma(v_from_vi(a0_2_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
						{
							vf t0 = v_relu(y0);
							v_store_n((py0 + 0) + (m + 0) * 17 + 0 + 0 + 16, t0, 1);
						}
						const vf y1 = v_fma(v_from_vi(a1_2_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
						{
							vf t0 = v_relu(y1);
							v_store_n((py0 + 0) + (m + 1) * 17 + 0 + 0 + 16, t0, 1);
						}
						const vf y2 = v_fma(v_from_vi(a2_2_0) * s, v_set1(*((px1 + 0) + (m + 2) * 1)), b);
						{
							vf t0 = v_relu(y2);
							v_store_n((py0 + 0) + (m + 2) * 17 + 0 + 0 + 16, t0, 1);
						}
						const vf y3 = v_fma(v_from_vi(a3_2_0) * s, v_set1(*((px1 + 0) + (m + 3) * 1)), b);
						{
							vf t0 = v_relu(y3);
							v_store_n((py0 + 0) + (m + 3) * 17 + 0 + 0 + 16, t0, 1);
						}
					}
				}
			}
			{
				vi a0_0_0 = vi_start(start + 0 + 0 + 0);
				vi a0_1_0 = vi_start(start + 0 + 0 + 8);
				vi a0_2_0 = vi_start(start + 0 + 0 + 16);
				vi a0_0_1 = vi_set1(0);
				vi a0_1_1 = vi_set1(0);
				vi a0_2_1 = vi_set1(0);
				for (int k = 0; k < 64; k += 2) {
					{
						const vi w0 = vi_load(w + 0 + 0 + (k + 0) * 32 + 0);
						const vi w1 = vi_load(w + 0 + 0 + (k + 0) * 32 + 8);
						const vi w2 = vi_load(w + 0 + 0 + (k + 0) * 32 + 16);
						const vi x0 = vi_four((px0 + 0) + (36 + 0) * 256 + 4 * (k + 0));
						a0_0_0 = v_dot4(a0_0_0, x0, w0);
						a0_1_0 = v_dot4(a0_1_0, x0, w1);
						a0_2_0 = v_dot4(a0_2_0, x0, w2);
					}
					{
						const vi w0 = vi_load(w + 0 + 0 + (k + 1) * 32 + 0);
						const vi w1 = vi_load(w + 0 + 0 + (k + 1) * 32 + 8);
						const vi w2 = vi_load(w + 0 + 0 + (k + 1) * 32 + 16);
						const vi x0 = vi_four((px0 + 0) + (36 + 0) * 256 + 4 * (k + 1));
						a0_0_1 = v_dot4(a0_0_1, x0, w0);
						a0_1_1 = v_dot4(a0_1_1, x0, w1);
						a0_2_1 = v_dot4(a0_2_1, x0, w2);
					}
				}
				a0_0_0 = vi_add(a0_0_0, a0_0_1);
				a0_1_0 = vi_add(a0_1_0, a0_1_1);
				a0_2_0 = vi_add(a0_2_0, a0_2_1);
				{
					const vf s = v_load(weight_scales + 0 + 0 + 0), b = v_load(bias + 0 + 0 + 0);
					const vf y0 = v_fma(v_from_vi(a0_0_0) * s, v_set1(*((px1 + 0) + (36 + 0) * 1)), b);
					{
						vf t0 = v_relu(y0);
						v_store((py0 + 0) + (36 + 0) * 17 + 0 + 0 + 0, t0);
					}
				}
				{
					const vf s = v_load(weight_scales + 0 + 0 + 8), b = v_load(bias + 0 + 0 + 8);
					const vf y0 = v_fma(v_from_vi(a0_1_0) * s, v_set1(*((px1 + 0) + (36 + 0) * 1)), b);
					{
						vf t0 = v_relu(y0);
						v_store((py0 + 0) + (36 + 0) * 17 + 0 + 0 + 8, t0);
					}
				}
				{
					const vf s = v_load(weight_scales + 0 + 0 + 16), b = v_load(bias + 0 + 0 + 16);
					const vf y0 = v_fma(v_from_vi(a0_2_0) * s, v_set1(*((px1 + 0) + (36 + 0) * 1)), b);
					{
						vf t0 = v_relu(y0);
						v_store_n((py0 + 0) + (36 + 0) * 17 + 0 + 0 + 16, t0, 1);
					}
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
	return fault;
}

__attribute__((visibility("default"))) REPEATABLE int invoke(
	const void *const *in, void *const *out, int64_t batch, void *scratch) {
	if (batch < 1 || batch > INT64_MAX / 75776) return 1;
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
		x[0] = (const float *)x[0] + n * 9472;
		y[0] = (float *)y[0] + n * 629;
	}
	leave_float_mode(mode);
	return fault;
}
