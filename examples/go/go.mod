module example/videosearch

go 1.22

require github.com/libc4c/libc4c/bindings/go v0.0.0

replace github.com/libc4c/libc4c/bindings/go => ../../bindings/go
