module github.com/libc4c/libc4c/bindings/go

go 1.22
