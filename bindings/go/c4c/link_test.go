package c4c_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func pkgConfig(t *testing.T, variable string) string {
	t.Helper()
	out, err := exec.Command("pkg-config", "--variable="+variable, "c4c").Output()
	if err != nil {
		t.Fatalf("pkg-config --variable=%s c4c: %v", variable, err)
	}
	return strings.TrimSpace(string(out))
}

// A header or a library of another interface than this package's does not build.
func TestAnotherInterfaceDoesNotLink(t *testing.T) {
	libraries := pkgConfig(t, "libdir")
	if testing.Short() || strings.HasPrefix(libraries, "/usr/") {
		t.Skip("compiles the package twice, and needs a library that the linker does not find by itself")
	}
	installed := must(os.ReadFile(filepath.Join(pkgConfig(t, "includedir"), "c4c.h")))(t)
	newer := strings.Replace(string(installed), "#define C4C_ABI_VERSION 0\n", "#define C4C_ABI_VERSION 1\n", 1)
	for name, test := range map[string]struct{ header, library, message string }{
		"another header":  {newer, "libc4c.so.0", "C4C_ABI_VERSION 0"},
		"another library": {string(installed), "libc4c.so.1", "libc4c.so.0"},
	} {
		prefix := t.TempDir()
		header := filepath.Join(prefix, "c4c.h")
		if err := os.WriteFile(header, []byte(test.header), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"libc4c.so", test.library} {
			if err := os.Symlink(filepath.Join(libraries, "libc4c.so"), filepath.Join(prefix, file)); err != nil {
				t.Fatal(err)
			}
		}
		pc := fmt.Sprintf("Name: c4c\nDescription: test\nVersion: 0\nCflags: -I%s\nLibs: -L%s -lc4c\n", prefix, prefix)
		if err := os.WriteFile(filepath.Join(prefix, "c4c.pc"), []byte(pc), 0o600); err != nil {
			t.Fatal(err)
		}
		build := exec.Command("go", "test", "-c", "-o", filepath.Join(prefix, "program"), ".")
		// go's build cache does not look at what pkg-config says, but at this.
		build.Env = append(os.Environ(), "PKG_CONFIG_PATH="+prefix, "CGO_CFLAGS=-I"+prefix)
		if out, err := build.CombinedOutput(); err == nil || !strings.Contains(string(out), test.message) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
