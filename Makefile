# make demo    set up, build, embed a sample video and some sentences
# make test    set up, run every test
# make build   target/release/libc4c.so
# make lint    formatting and clippy
# make header  regenerate include/c4c.h
# make bench   our parts, the peers, growth: an hour or two, and 6 GB of peers' packages once; BENCH=--quick takes minutes

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/c4c

WEIGHTS := $(CACHE)/random_vit_b32.bin
VIDEO := $(CACHE)/sample.mp4
SENTENCES := "a test picture with moving colours" "a man is riding a motorcycle" "kids play with a horse"

BENCH_PYTHON := $(CACHE)/bench/bin/python
OUT := $(TARGET)/bench

.PHONY: build demo test lint header bench setup clean

build: setup
	cargo build --release
	ln -sf libc4c.so $(RELEASE)/libc4c.so.0

demo: build $(WEIGHTS) $(VIDEO)
	cc -O2 -Wall -Wextra examples/c/embed_video.c -o $(RELEASE)/embed_video -Iinclude -L$(RELEASE) -lc4c -lm -Wl,-rpath,$(abspath $(RELEASE))
	@echo "The weights are random: the numbers show that it runs and how fast, the similarities mean nothing."
	$(RELEASE)/embed_video $(WEIGHTS) $(VIDEO) $(SENTENCES)

test: setup
	cargo test

lint: setup
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

header: setup
	cargo build
	cp "$$(ls -t $(TARGET)/debug/build/c4c-*/out/c4c.h | head -n 1)" include/c4c.h

# The library is copied, so that no build replaces it between two measurements.
bench: build $(WEIGHTS) $(BENCH_PYTHON)
	mkdir -p $(OUT)
	cp $(RELEASE)/libc4c.so $(OUT)/ && ln -sf libc4c.so $(OUT)/libc4c.so.0
	cargo build --release --examples
	cargo bench --bench parts
	$(BENCH_PYTHON) benches/peers/peers.py $(BENCH) --library $(OUT)/libc4c.so \
	    --decode-time $(RELEASE)/examples/decode_time --json $(OUT)/peers.json | tee $(OUT)/peers.md
	$(BENCH_PYTHON) benches/growth/growth.py $(BENCH) --library $(OUT)/libc4c.so --out $(OUT) \
	    --json $(OUT)/growth.json | tee $(OUT)/growth.md

$(BENCH_PYTHON): benches/peers/requirements.txt
	python3 -m venv $(CACHE)/bench
	$@ -m pip install --quiet -r $<
	touch $@

setup:
	@scripts/setup.sh

$(WEIGHTS): | build
	@mkdir -p $(CACHE)
	cargo run --quiet --release --example make_checkpoint -- $@

$(VIDEO): | setup
	@mkdir -p $(CACHE)
	ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=size=320x240:rate=25:duration=10 -c:v libx264 -pix_fmt yuv420p $@.part.mp4
	mv $@.part.mp4 $@

clean:
	cargo clean
