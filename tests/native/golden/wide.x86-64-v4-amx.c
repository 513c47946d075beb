static __attribute__((noinline)) int step0_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)in[0];
	float * py0 = (float *)(scratch + 0);
	unsigned char *const work = scratch + 23040;
	{
		static const tile_shapes shapes = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {9, 9, 9, 9, 9, 9, 16, 16}};
		const uint32_t *const w = (const uint32_t *)(weights + 0);
		const float *const bias = (const float *)(weights + 32768);
		uint16_t *const x = (uint16_t *)(work + 0);
		for (int t = 0; t < 2; ++t) {
			tile_rows(x + t * 576, (px0 + 0) + ((t) * 9) * 40, 40, 9, 40);
		}
		TILES_BEGIN(shapes);
		for (int n = 0; n < 8; ++n) {
			{
				const uint32_t *const panel = w + n * 1024;
				const int column = n * 32;
				{
					enum { m = 0 };
					{
						TILE_LOAD(0, bias + column + 0, 0);
						TILE_LOAD(1, bias + column + 16, 0);
						TILE_LOAD(2, bias + column + 0, 0);
						TILE_LOAD(3, bias + column + 16, 0);
						for (int k = 0; k < 2; ++k) {
							TILE_LOAD(4, x + ((2 * m + 0) * 2 + k) * 288, 64);
							TILE_LOAD(5, x + ((2 * m + 1) * 2 + k) * 288, 64);
							TILE_LOAD(7, panel + (0 + k) * 256, 64);
							TILE_BF16(0, 4, 7);
							TILE_BF16(2, 5, 7);
							TILE_LOAD(6, panel + (2 + k) * 256, 64);
							TILE_BF16(1, 4, 6);
							TILE_BF16(3, 5, 6);
						}
						{
							const int row = (2 * m + 0) * 9;
							TILE_STORE(0, (py0 + 0) + row * 256 + column + 0, 1024);
							TILE_STORE(1, (py0 + 0) + row * 256 + column + 16, 1024);
						}
						{
							const int row = (2 * m + 1) * 9;
							TILE_STORE(2, (py0 + 0) + row * 256 + column + 0, 1024);
							TILE_STORE(3, (py0 + 0) + row * 256 + column + 16, 1024);
						}
					}
				}
			}
		}
		TILES_END();
	}
	return 0;
}

static __attribute__((noinline)) int step1_1(const void *const *in, void *const *out, unsigned char *scratch) {
	(void)in, (void)out, (void)scratch;
	const float * px0 = (const float *)(scratch + 0);
	const float * px3 = (const float *)(weights + 33792);
	const float * px4 = (const float *)(weights + 33792);
	float * py0 = (float *)(scratch + 18432);
	float * py1 = (float *)out[0];
	float * py2 = (float *)out[0] + 64;
	unsigned char *const work = scratch + 23040;
	static const tile_shapes shapes = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {1, 1, 1, 1, 1, 1, 16, 16}};
	const uint32_t *const w = (const uint32_t *)(weights + 34048);
	const float *const bias = (const float *)(weights + 66816);
	uint16_t *const state = (uint16_t *)(work + 0);
	float *const sums = (float *)(work + 128);
	(void)bias;
	{
		enum { t = 0 };
		tile_rows(state + t * 64, px3 + t * 0, 0, 1, 64);
		memcpy(py2 + t * 128, px4 + t * 0, 64 * sizeof(float));
	}
	TILES_BEGIN(shapes);
	for (int s = 0; s < 18; ++s) {
		const int now = s;
		TILE_LOAD(0, state + 0, 128);
		TILE_LOAD(1, state + 32, 128);
		for (int a = 0; a < 8; ++a) {
			const int b = s & 1 ? 7 - a : a;
			const uint32_t *const panel = w + b * 1024;
			TILE_ZERO(4);
			TILE_ZERO(5);
			TILE_LOAD(6, panel + (0 + 0) * 256, 64);
			TILE_BF16(4, 0, 6);
			TILE_LOAD(7, panel + (0 + 2) * 256, 64);
			TILE_BF16(5, 0, 7);
			TILE_LOAD(6, panel + (1 + 0) * 256, 64);
			TILE_BF16(4, 1, 6);
			TILE_LOAD(7, panel + (1 + 2) * 256, 64);
			TILE_BF16(5, 1, 7);
			TILE_STORE(4, sums + b * 32 + 0, 1024);
			TILE_STORE(5, sums + b * 32 + 16, 1024);
		}
		{
			enum { t = 0 };
			const float *const gate = px0 + t * 4608 + now * 256;
			float *const y = py0 + t * 1152 + now * 64;
			float *const cell = py2 + t * 128;
			for (int u = 0; u < 4; ++u) {
				{
					const int unit = u * 16;
					const vf g0 = v_load(sums + t * 256 + u * 64 + 0) + v_load(gate + 0 + unit);
					const vf g1 = v_load(sums + t * 256 + u * 64 + 16) + v_load(gate + 64 + unit);
					const vf g2 = v_load(sums + t * 256 + u * 64 + 32) + v_load(gate + 128 + unit);
					const vf g3 = v_load(sums + t * 256 + u * 64 + 48) + v_load(gate + 192 + unit);
					const vf keep = v_sigmoid(g1) * v_load(cell + unit);
					const vf c = v_fma(v_sigmoid(g0), v_tanh(g2), keep);
					v_store(cell + unit, c);
					const vf h = v_sigmoid(g3) * v_tanh(c);
					v_store(y + unit, h);
				}
			}
			tile_rows(state + t * 64, y, 0, 1, 64);
		}
	}
	TILES_END();
	{
		enum { t = 0 };
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
	if (!tiles_permitted) return 5;
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
