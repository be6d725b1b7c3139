# make demo    set up, build, index a dozen videos and find them by words
# make test    set up, run every test
# make build   target/release/libc4c.so
# make install, make uninstall          PREFIX=/usr/local DESTDIR= ; scripts/install.sh knows more
# make deb, make tarball, make wheel    packages, in target/package
# make check-deb                        installs the .deb on a clean Debian (as root, with debootstrap)
# make gpu-check                        target/gpu_check: a folder for a machine with a GPU; tools/gpu_check.sh knows more
# make docs    the reference of the C and C++ interface as HTML, in target/docs
# make lint    formatting and clippy
# make header  regenerate include/c4c.h
# make bench   our parts, the peers, growth: an hour or two, and 6 GB of peers' packages once; BENCH=--quick takes minutes

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/c4c

WEIGHTS := $(CACHE)/random_vit_b32.bin
VIDEO := $(CACHE)/sample.mp4
SEARCHES := "a ball moves to the right" "a red crescent rises" "a pink plus sign jumps up and down"

# scripts/install.sh and scripts/package.sh read these.
export PREFIX LIBDIR INCLUDEDIR BINDIR MANDIR DOCDIR DATADIR DESTDIR

BENCH_PYTHON := $(CACHE)/bench/bin/python
OUT := $(TARGET)/bench

PACKAGE := $(TARGET)/package

.PHONY: build demo test lint header bench install uninstall deb tarball wheel check-deb gpu-check docs setup clean

build: setup
	cargo build --release
	ln -sf libc4c.so $(RELEASE)/libc4c.so.0
	scripts/third_party.py >$(RELEASE)/THIRD-PARTY

# With the small model that the project trained, on videos of combinations that it has never seen.
demo: build
	@rm -f $(TARGET)/demo.db
	$(RELEASE)/c4c index models/demo/videos -o $(TARGET)/demo.db --model models/demo/pytorch_model.bin
	$(RELEASE)/c4c search -i $(TARGET)/demo.db --model models/demo/pytorch_model.bin -k 3 $(SEARCHES)
	@echo
	@echo "This model knows moving coloured shapes and nothing else. With a CLIP4Clip checkpoint and videos of your own:"
	@echo "    $(RELEASE)/c4c index FOLDER -o library.db --model pytorch_model.bin"
	@echo "    $(RELEASE)/c4c search \"a dog runs on the beach\""

# What is installed is tested as a debug build, which is there already: that saves five minutes.
test: setup-tests
	cargo build
	cargo test
	tests/installed/run.sh $(TARGET)/debug

# Under sudo, what `make build` has left is installed: root has no Rust, as a rule.
install: $(if $(SUDO_USER),,setup-install build)
	scripts/install.sh $(RELEASE)

uninstall:
	scripts/install.sh --uninstall

deb tarball: setup-install build
	scripts/package.sh $@ $(RELEASE) $(PACKAGE)

# For the Python and the FFmpeg of this machine; pip fetches what builds it.
wheel: setup-install build
	C4C_LIBRARY=$(abspath $(RELEASE))/libc4c.so python3 -m pip wheel --quiet --no-deps -w $(PACKAGE) bindings/python

check-deb: deb $(WEIGHTS) $(VIDEO)
	tests/installed/debian.sh $(PACKAGE) $(WEIGHTS) $(VIDEO)

gpu-check: setup-install build
	tools/gpu_check.sh pack $(TARGET)/gpu_check $(RELEASE)

docs: setup-tests
	doxygen docs/Doxyfile

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

setup-%:
	@scripts/setup.sh $*

$(WEIGHTS): | build
	@mkdir -p $(CACHE)
	cargo run --quiet --release --example make_checkpoint -- $@

$(VIDEO): | setup
	@mkdir -p $(CACHE)
	ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=size=320x240:rate=25:duration=10 -c:v libx264 -pix_fmt yuv420p $@.part.mp4
	mv $@.part.mp4 $@

clean:
	cargo clean
