static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	uint8_t * py0 = (uint8_t *)(scratch + 1024);
	float * py1 = (float *)(scratch + 1152);
	quantize_rows(px0 + 0, 64, 2, 64, py0 + 0, 64, py1 + 0, 1);
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const uint8_t * px0 = (const uint8_t *)(scratch + 1024);
	const float * px1 = (const float *)(scratch + 1152);
	float * py0 = (float *)(scratch + 0);
	{
		const int32_t *const start = (const int32_t *)(weights + 8192);
		const float *const weight_scales = (const float *)(weights + 8704);
		const float *const bias = (const float *)(weights + 9216);
		{
			const uint32_t *const w = (const uint32_t *)(weights + 0);
			for (int p = 0; p < 2; ++p) {
				{
					enum { m = 0 };
					{
						vi a0_0_0 = vi_start(start + p * 64 + 0 + 0);
						vi a0_1_0 = vi_start(start + p * 64 + 0 + 4);
						vi a0_2_0 = vi_start(start + p * 64 + 0 + 8);
						vi a0_3_0 = vi_start(start + p * 64 + 0 + 12);
						vi a1_0_0 = vi_start(start + p * 64 + 0 + 0);
						vi a1_1_0 = vi_start(start + p * 64 + 0 + 4);
						vi a1_2_0 = vi_start(start + p * 64 + 0 + 8);
						vi a1_3_0 = vi_start(start + p * 64 + 0 + 12);
						for (int k = 0; k < 16; ++k) {
							{
								const vi w0 = vi_load(w + p * 1024 + 0 + (k + 0) * 64 + 0);
								const vi w1 = vi_load(w + p * 1024 + 0 + (k + 0) * 64 + 4);
								const vi w2 = vi_load(w + p * 1024 + 0 + (k + 0) * 64 + 8);
								const vi w3 = vi_load(w + p * 1024 + 0 + (k + 0) * 64 + 12);
								const vi x0 = vi_four((px0 + 0) + (m + 0) * 64 + 4 * (k + 0));
								a0_0_0 = v_dot4(a0_0_0, x0, w0);
								a0_1_0 = v_dot4(a0_1_0, x0, w1);
								a0_2_0 = v_dot4(a0_2_0, x0, w2);
								a0_3_0 = v_dot4(a0_3_0, x0, w3);
								const vi x1 = vi_four((px0 + 0) + (m + 1) * 64 + 4 * (k + 0));
								a1_0_0 = v_dot4(a1_0_0, x1, w0);
								a1_1_0 = v_dot4(a1_1_0, x1, w1);
								a1_2_0 = v_dot4(a1_2_0, x1, w2);
								a1_3_0 = v_dot4(a1_3_0, x1, w3);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 0 + 0), b = v_load(bias + p * 64 + 0 + 0);
							const vf y0 = v_fma(v_from_vi(a0_0_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 0 + 0, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_0_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 0 + 0, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 0 + 4), b = v_load(bias + p * 64 + 0 + 4);
							const vf y0 = v_fma(v_from_vi(a0_1_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 0 + 4, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_1_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 0 + 4, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 0 + 8), b = v_load(bias + p * 64 + 0 + 8);
							const vf y0 = v_fma(v_from_vi(a0_2_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 0 + 8, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_2_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 0 + 8, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 0 + 12), b = v_load(bias + p * 64 + 0 + 12);
							const vf y0 = v_fma(v_from_vi(a0_3_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 0 + 12, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_3_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 0 + 12, y1);
							}
						}
					}
				}
				{
					enum { m = 0 };
					{
						vi a0_0_0 = vi_start(start + p * 64 + 16 + 0);
						vi a0_1_0 = vi_start(start + p * 64 + 16 + 4);
						vi a0_2_0 = vi_start(start + p * 64 + 16 + 8);
						vi a0_3_0 = vi_start(start + p * 64 + 16 + 12);
						vi a1_0_0 = vi_start(start + p * 64 + 16 + 0);
						vi a1_1_0 = vi_start(start + p * 64 + 16 + 4);
						vi a1_2_0 = vi_start(start + p * 64 + 16 + 8);
						vi a1_3_0 = vi_start(start + p * 64 + 16 + 12);
						for (int k = 0; k < 16; ++k) {
							{
								const vi w0 = vi_load(w + p * 1024 + 16 + (k + 0) * 64 + 0);
								const vi w1 = vi_load(w + p * 1024 + 16 + (k + 0) * 64 + 4);
								const vi w2 = vi_load(w + p * 1024 + 16 + (k + 0) * 64 + 8);
								const vi w3 = vi_load(w + p * 1024 + 16 + (k + 0) * 64 + 12);
								const vi x0 = vi_four((px0 + 0) + (m + 0) * 64 + 4 * (k + 0));
								a0_0_0 = v_dot4(a0_0_0, x0, w0);
								a0_1_0 = v_dot4(a0_1_0, x0, w1);
								a0_2_0 = v_dot4(a0_2_0, x0, w2);
								a0_3_0 = v_dot4(a0_3_0, x0, w3);
								const vi x1 = vi_four((px0 + 0) + (m + 1) * 64 + 4 * (k + 0));
								a1_0_0 = v_dot4(a1_0_0, x1, w0);
								a1_1_0 = v_dot4(a1_1_0, x1, w1);
								a1_2_0 = v_dot4(a1_2_0, x1, w2);
								a1_3_0 = v_dot4(a1_3_0, x1, w3);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 16 + 0), b = v_load(bias + p * 64 + 16 + 0);
							const vf y0 = v_fma(v_from_vi(a0_0_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 16 + 0, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_0_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 16 + 0, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 16 + 4), b = v_load(bias + p * 64 + 16 + 4);
							const vf y0 = v_fma(v_from_vi(a0_1_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 16 + 4, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_1_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 16 + 4, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 16 + 8), b = v_load(bias + p * 64 + 16 + 8);
							const vf y0 = v_fma(v_from_vi(a0_2_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 16 + 8, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_2_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 16 + 8, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 16 + 12), b = v_load(bias + p * 64 + 16 + 12);
							const vf y0 = v_fma(v_from_vi(a0_3_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 16 + 12, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_3_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 16 + 12, y1);
							}
						}
					}
				}
				{
					enum { m = 0 };
					{
						vi a0_0_0 = vi_start(start + p * 64 + 32 + 0);
						vi a0_1_0 = vi_start(start + p * 64 + 32 + 4);
						vi a0_2_0 = vi_start(start + p * 64 + 32 + 8);
						vi a0_3_0 = vi_start(start + p * 64 + 32 + 12);
						vi a1_0_0 = vi_start(start + p * 64 + 32 + 0);
						vi a1_1_0 = vi_start(start + p * 64 + 32 + 4);
						vi a1_2_0 = vi_start(start + p * 64 + 32 + 8);
						vi a1_3_0 = vi_start(start + p * 64 + 32 + 12);
						for (int k = 0; k < 16; ++k) {
							{
								const vi w0 = vi_load(w + p * 1024 + 32 + (k + 0) * 64 + 0);
								const vi w1 = vi_load(w + p * 1024 + 32 + (k + 0) * 64 + 4);
								const vi w2 = vi_load(w + p * 1024 + 32 + (k + 0) * 64 + 8);
								const vi w3 = vi_load(w + p * 1024 + 32 + (k + 0) * 64 + 12);
								const vi x0 = vi_four((px0 + 0) + (m + 0) * 64 + 4 * (k + 0));
								a0_0_0 = v_dot4(a0_0_0, x0, w0);
								a0_1_0 = v_dot4(a0_1_0, x0, w1);
								a0_2_0 = v_dot4(a0_2_0, x0, w2);
								a0_3_0 = v_dot4(a0_3_0, x0, w3);
								const vi x1 = vi_four((px0 + 0) + (m + 1) * 64 + 4 * (k + 0));
								a1_0_0 = v_dot4(a1_0_0, x1, w0);
								a1_1_0 = v_dot4(a1_1_0, x1, w1);
								a1_2_0 = v_dot4(a1_2_0, x1, w2);
								a1_3_0 = v_dot4(a1_3_0, x1, w3);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 32 + 0), b = v_load(bias + p * 64 + 32 + 0);
							const vf y0 = v_fma(v_from_vi(a0_0_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 32 + 0, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_0_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 32 + 0, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 32 + 4), b = v_load(bias + p * 64 + 32 + 4);
							const vf y0 = v_fma(v_from_vi(a0_1_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 32 + 4, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_1_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 32 + 4, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 32 + 8), b = v_load(bias + p * 64 + 32 + 8);
							const vf y0 = v_fma(v_from_vi(a0_2_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 32 + 8, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_2_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 32 + 8, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 32 + 12), b = v_load(bias + p * 64 + 32 + 12);
							const vf y0 = v_fma(v_from_vi(a0_3_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 32 + 12, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_3_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 32 + 12, y1);
							}
						}
					}
				}
				{
					enum { m = 0 };
					{
						vi a0_0_0 = vi_start(start + p * 64 + 48 + 0);
						vi a0_1_0 = vi_start(start + p * 64 + 48 + 4);
						vi a0_2_0 = vi_start(start + p * 64 + 48 + 8);
						vi a0_3_0 = vi_start(start + p * 64 + 48 + 12);
						vi a1_0_0 = vi_start(start + p * 64 + 48 + 0);
						vi a1_1_0 = vi_start(start + p * 64 + 48 + 4);
						vi a1_2_0 = vi_start(start + p * 64 + 48 + 8);
						vi a1_3_0 = vi_start(start + p * 64 + 48 + 12);
						for (int k = 0; k < 16; ++k) {
							{
								const vi w0 = vi_load(w + p * 1024 + 48 + (k + 0) * 64 + 0);
								const vi w1 = vi_load(w + p * 1024 + 48 + (k + 0) * 64 + 4);
								const vi w2 = vi_load(w + p * 1024 + 48 + (k + 0) * 64 + 8);
								const vi w3 = vi_load(w + p * 1024 + 48 + (k + 0) * 64 + 12);
								const vi x0 = vi_four((px0 + 0) + (m + 0) * 64 + 4 * (k + 0));
								a0_0_0 = v_dot4(a0_0_0, x0, w0);
								a0_1_0 = v_dot4(a0_1_0, x0, w1);
								a0_2_0 = v_dot4(a0_2_0, x0, w2);
								a0_3_0 = v_dot4(a0_3_0, x0, w3);
								const vi x1 = vi_four((px0 + 0) + (m + 1) * 64 + 4 * (k + 0));
								a1_0_0 = v_dot4(a1_0_0, x1, w0);
								a1_1_0 = v_dot4(a1_1_0, x1, w1);
								a1_2_0 = v_dot4(a1_2_0, x1, w2);
								a1_3_0 = v_dot4(a1_3_0, x1, w3);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 48 + 0), b = v_load(bias + p * 64 + 48 + 0);
							const vf y0 = v_fma(v_from_vi(a0_0_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 48 + 0, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_0_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 48 + 0, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 48 + 4), b = v_load(bias + p * 64 + 48 + 4);
							const vf y0 = v_fma(v_from_vi(a0_1_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 48 + 4, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_1_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 48 + 4, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 48 + 8), b = v_load(bias + p * 64 + 48 + 8);
							const vf y0 = v_fma(v_from_vi(a0_2_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 48 + 8, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_2_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 48 + 8, y1);
							}
						}
						{
							const vf s = v_load(weight_scales + p * 64 + 48 + 12), b = v_load(bias + p * 64 + 48 + 12);
							const vf y0 = v_fma(v_from_vi(a0_3_0) * s, v_set1(*((px1 + 0) + (m + 0) * 1)), b);
							{
								v_store((py0 + 0) + (m + 0) * 128 + p * 64 + 48 + 12, y0);
							}
							const vf y1 = v_fma(v_from_vi(a1_3_0) * s, v_set1(*((px1 + 0) + (m + 1) * 1)), b);
							{
								v_store((py0 + 0) + (m + 1) * 128 + p * 64 + 48 + 12, y1);
							}
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
	const float * px0 = (const float *)(scratch + 0);
	const float * px4 = (const float *)(weights + 9728);
	const float * px5 = (const float *)(weights + 9728);
	float * py0 = (float *)(scratch + 1024);
	float * py1 = (float *)out[0];
	float * py2 = (float *)out[0] + 32;
	const uint32_t *const w = (const uint32_t *)(weights + 9856);
	const int32_t *const start = (const int32_t *)(weights + 13952);
	const float *const weight_scales = (const float *)(weights + 14464);
	_Alignas(64) uint8_t codes[32];
	{
		enum { t = 0 };
		float *const cell = py2 + t * 64;
		memcpy(cell, px5 + t * 0, 32 * sizeof(float));
		for (int s = 0; s < 2; ++s) {
			const int now = s;
			const float *const gate = px0 + t * 256 + now * 128;
			float *const y = py0 + t * 64 + now * 32;
			const float *const previous = s == 0 ? px4 + t * 0 : py0 + t * 64 + (now - 1) * 32;
			const vf scale = v_set1(quantize_row(previous, 32, codes));
			for (int a = 0; a < 2; ++a) {
				const int b = s & 1 ? 1 - a : a;
				{
					vi a0_0_0 = vi_start(start + b * 64 + 0);
					vi a0_1_0 = vi_start(start + b * 64 + 4);
					vi a0_2_0 = vi_start(start + b * 64 + 8);
					vi a0_3_0 = vi_start(start + b * 64 + 12);
					vi a1_0_0 = vi_start(start + b * 64 + 16);
					vi a1_1_0 = vi_start(start + b * 64 + 20);
					vi a1_2_0 = vi_start(start + b * 64 + 24);
					vi a1_3_0 = vi_start(start + b * 64 + 28);
					vi a2_0_0 = vi_start(start + b * 64 + 32);
					vi a2_1_0 = vi_start(start + b * 64 + 36);
					vi a2_2_0 = vi_start(start + b * 64 + 40);
					vi a2_3_0 = vi_start(start + b * 64 + 44);
					vi a3_0_0 = vi_start(start + b * 64 + 48);
					vi a3_1_0 = vi_start(start + b * 64 + 52);
					vi a3_2_0 = vi_start(start + b * 64 + 56);
					vi a3_3_0 = vi_start(start + b * 64 + 60);
					for (int k = 0; k < 8; ++k) {
						{
							const vi x = vi_four(codes + 4 * (k + 0));
							a0_0_0 = v_dot4(a0_0_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 0));
							a0_1_0 = v_dot4(a0_1_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 4));
							a0_2_0 = v_dot4(a0_2_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 8));
							a0_3_0 = v_dot4(a0_3_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 12));
							a1_0_0 = v_dot4(a1_0_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 16));
							a1_1_0 = v_dot4(a1_1_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 20));
							a1_2_0 = v_dot4(a1_2_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 24));
							a1_3_0 = v_dot4(a1_3_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 28));
							a2_0_0 = v_dot4(a2_0_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 32));
							a2_1_0 = v_dot4(a2_1_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 36));
							a2_2_0 = v_dot4(a2_2_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 40));
							a2_3_0 = v_dot4(a2_3_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 44));
							a3_0_0 = v_dot4(a3_0_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 48));
							a3_1_0 = v_dot4(a3_1_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 52));
							a3_2_0 = v_dot4(a3_2_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 56));
							a3_3_0 = v_dot4(a3_3_0, x, vi_load(w + (b * 8 + (k + 0)) * 64 + 60));
						}
					}
					{
						const vf g0 = v_fma(v_from_vi(a0_0_0) * v_load(weight_scales + b * 64 + 0), scale, v_load(gate + 0 + b * 16 + 0));
						const vf g1 = v_fma(v_from_vi(a1_0_0) * v_load(weight_scales + b * 64 + 16), scale, v_load(gate + 32 + b * 16 + 0));
						const vf g2 = v_fma(v_from_vi(a2_0_0) * v_load(weight_scales + b * 64 + 32), scale, v_load(gate + 64 + b * 16 + 0));
						const vf g3 = v_fma(v_from_vi(a3_0_0) * v_load(weight_scales + b * 64 + 48), scale, v_load(gate + 96 + b * 16 + 0));
						const vf keep = v_sigmoid(g1) * v_load(cell + b * 16 + 0);
						const vf c = keep + v_sigmoid_tanh(g0, g2);
						v_store(cell + b * 16 + 0, c);
						const vf h = v_sigmoid_tanh(g3, c);
						v_store(y + b * 16 + 0, h);
					}
					{
						const vf g0 = v_fma(v_from_vi(a0_1_0) * v_load(weight_scales + b * 64 + 4), scale, v_load(gate + 0 + b * 16 + 4));
						const vf g1 = v_fma(v_from_vi(a1_1_0) * v_load(weight_scales + b * 64 + 20), scale, v_load(gate + 32 + b * 16 + 4));
						const vf g2 = v_fma(v_from_vi(a2_1_0) * v_load(weight_scales + b * 64 + 36), scale, v_load(gate + 64 + b * 16 + 4));
						const vf g3 = v_fma(v_from_vi(a3_1_0) * v_load(weight_scales + b * 64 + 52), scale, v_load(gate + 96 + b * 16 + 4));
						const vf keep = v_sigmoid(g1) * v_load(cell + b * 16 + 4);
						const vf c = keep + v_sigmoid_tanh(g0, g2);
						v_store(cell + b * 16 + 4, c);
						const vf h = v_sigmoid_tanh(g3, c);
						v_store(y + b * 16 + 4, h);
					}
					{
						const vf g0 = v_fma(v_from_vi(a0_2_0) * v_load(weight_scales + b * 64 + 8), scale, v_load(gate + 0 + b * 16 + 8));
						const vf g1 = v_fma(v_from_vi(a1_2_0) * v_load(weight_scales + b * 64 + 24), scale, v_load(gate + 32 + b * 16 + 8));
						const vf g2 = v_fma(v_from_vi(a2_2_0) * v_load(weight_scales + b * 64 + 40), scale, v_load(gate + 64 + b * 16 + 8));
						const vf g3 = v_fma(v_from_vi(a3_2_0) * v_load(weight_scales + b * 64 + 56), scale, v_load(gate + 96 + b * 16 + 8));
						const vf keep = v_sigmoid(g1) * v_load(cell + b * 16 + 8);
						const vf c = keep + v_sigmoid_tanh(g0, g2);
						v_store(cell + b * 16 + 8, c);
						const vf h = v_sigmoid_tanh(g3, c);
						v_store(y + b * 16 + 8, h);
					}
					{
						const vf g0 = v_fma(v_from_vi(a0_3_0) * v_load(weight_scales + b * 64 + 12), scale, v_load(gate + 0 + b * 16 + 12));
						const vf g1 = v_fma(v_from_vi(a1_3_0) * v_load(weight_scales + b * 64 + 28), scale, v_load(gate + 32 + b * 16 + 12));
						const vf g2 = v_fma(v_from_vi(a2_3_0) * v_load(weight_scales + b * 64 + 44), scale, v_load(gate + 64 + b * 16 + 12));
						const vf g3 = v_fma(v_from_vi(a3_3_0) * v_load(weight_scales + b * 64 + 60), scale, v_load(gate + 96 + b * 16 + 12));
						const vf keep = v_sigmoid(g1) * v_load(cell + b * 16 + 12);
						const vf c = keep + v_sigmoid_tanh(g0, g2);
						v_store(cell + b * 16 + 12, c);
						const vf h = v_sigmoid_tanh(g3, c);
						v_store(y + b * 16 + 12, h);
					}
				}
			}
		}
		memcpy(py1 + t * 64, py0 + t * 64 + 32, 32 * sizeof(float));
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
	if (batch < 1 || batch > INT64_MAX / 1024) return 1;
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
		x[0] = (const float *)x[0] + n * 128;
		y[0] = (float *)y[0] + n * 64;
	}
	leave_float_mode(mode);
	return fault;
}
