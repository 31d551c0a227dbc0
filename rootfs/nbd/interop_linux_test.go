package nbd_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs/nbd"
)

// interopSize is that of the exports: no power of two, many times what one
// request may ask for, whole sectors because qemu rounds to them.
const interopSize = 20<<20 + 3*512

// interopPattern is where the content is one byte over and over, for clients
// that can verify that alone.
const interopPattern = 7<<20 + 512

// interopExports is the same content as each kind of backend: an extent of a
// larger file (sendfile), an io.ReaderAt, and a backend of go-nbd.
func interopExports(t *testing.T) (content []byte, exports []nbd.Export) {
	content = make([]byte, interopSize)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(content) // says it never fails
	copy(content[interopPattern:], bytes.Repeat([]byte{0xa5}, 64<<10))

	// What is around the extent differs from what is in it.
	const offset = 3 * 2048
	path := filepath.Join(t.TempDir(), "image")
	around := bytes.Repeat([]byte("x"), offset)
	require.NoError(t, os.WriteFile(path, bytes.Join([][]byte{around, content, around}, nil), 0o600))
	image, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { image.Close() })

	export := func(name string, open func() (backend.Backend, error)) {
		exports = append(exports, nbd.Export{Name: name, Description: "the " + name, Open: func(context.Context) (backend.Backend, error) { return open() }})
	}
	export("extent", func() (backend.Backend, error) {
		return nbd.File(&extentFile{io.NewSectionReader(image, offset, interopSize), image, offset})
	})
	export("reader", func() (backend.Backend, error) {
		return nbd.ReaderAt(bytes.NewReader(content), interopSize), nil
	})
	export("go-nbd", func() (backend.Backend, error) { return backend.NewMemoryBackend(content), nil })
	return content, exports
}

// extentFile is a file that lies contiguously in another one.
type extentFile struct {
	*io.SectionReader
	in     *os.File
	offset int64
}

func (f *extentFile) Close() error               { return nil }
func (f *extentFile) Stat() (fs.FileInfo, error) { return extentInfo{size: f.Size()}, nil }
func (f *extentFile) Extent() (*os.File, int64, int64, bool) {
	return f.in, f.offset, f.Size(), true
}

// extentInfo is what the server looks at.
type extentInfo struct {
	fs.FileInfo
	size int64
}

func (i extentInfo) Name() string      { return "extent" }
func (i extentInfo) Size() int64       { return i.size }
func (i extentInfo) Mode() fs.FileMode { return 0o444 }

// interopServe serves on the loopback interface until the test ends.
func interopServe(t *testing.T, s *nbd.Server) (addr string) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-ended, nbd.ErrServerClosed)
	})
	return l.Addr().String()
}

// interopNeed skips the test where a program is missing, but never in CI.
func interopNeed(t *testing.T, debian string, programs ...string) {
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		message := fmt.Sprintf("%s is missing: apt-get install %s", program, debian)
		if os.Getenv("CI") != "" {
			t.Fatal("in CI this test is not skipped: " + message)
		}
		t.Skip(message)
	}
}

// interopRun runs a client to its end.
func interopRun(t *testing.T, program string, args ...string) (stdout []byte, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err = cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), errors.Join(err, ctx.Err()), stderr.Bytes())
	}
	return stdout, err
}

func interopMust(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	stdout, err := interopRun(t, program, args...)
	require.NoError(t, err)
	return stdout
}

// nbdinfoReport is what is looked at of nbdinfo --json.
type nbdinfoReport struct {
	Protocol string `json:"protocol"`
	TLS      bool   `json:"TLS"`
	Exports  []struct {
		Name         string `json:"export-name"`
		Description  string `json:"description"`
		Size         int64  `json:"export-size"`
		ReadOnly     bool   `json:"is_read_only"`
		MultiConn    bool   `json:"can_multi_conn"`
		BlockMinimum int64  `json:"block_size_minimum"`
		BlockMaximum int64  `json:"block_size_maximum"`
	} `json:"exports"`
}

func TestInteropNbdinfo(t *testing.T) {
	interopNeed(t, "libnbd-bin", "nbdinfo")
	_, exports := interopExports(t)
	addr := interopServe(t, &nbd.Server{Exports: exports})

	var list nbdinfoReport
	require.NoError(t, json.Unmarshal(interopMust(t, "nbdinfo", "--list", "--json", "nbd://"+addr), &list))
	require.Equal(t, "newstyle-fixed", list.Protocol)
	require.Len(t, list.Exports, len(exports))
	for i, export := range exports {
		require.Equal(t, export.Name, list.Exports[i].Name)
		require.Equal(t, export.Description, list.Exports[i].Description)
		require.EqualValues(t, interopSize, list.Exports[i].Size)

		var one nbdinfoReport
		require.NoError(t, json.Unmarshal(interopMust(t, "nbdinfo", "--json", "nbd://"+addr+"/"+export.Name), &one))
		require.Len(t, one.Exports, 1)
		require.Equal(t, export.Name, one.Exports[0].Name)
		require.EqualValues(t, interopSize, one.Exports[0].Size)
		require.True(t, one.Exports[0].ReadOnly)
		require.True(t, one.Exports[0].MultiConn)
		require.EqualValues(t, 1, one.Exports[0].BlockMinimum)
		require.GreaterOrEqual(t, one.Exports[0].BlockMaximum, int64(1<<20))
	}
	_, err := interopRun(t, "nbdinfo", "nbd://"+addr+"/nobody")
	require.Error(t, err, "an export that is not there")
}

func TestInteropNbdcopy(t *testing.T) {
	interopNeed(t, "libnbd-bin", "nbdcopy")
	content, exports := interopExports(t)
	addr := interopServe(t, &nbd.Server{Exports: exports})
	for _, export := range exports {
		for _, options := range [][]string{
			{"--connections=1"},
			{"--connections=4"},
			{"--connections=4", "--requests=16", "--request-size=4096"},
			{"--synchronous"},
		} {
			t.Run(export.Name+" "+strings.Join(options, " "), func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "copy")
				interopMust(t, "nbdcopy", append(options, "nbd://"+addr+"/"+export.Name, out)...)
				interopSame(t, content, out)
			})
		}
	}
}

// interopSame compares without printing megabytes.
func interopSame(t *testing.T, content []byte, path string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got), "%s differs from the export's content", path)
}

func TestInteropQemu(t *testing.T) {
	interopNeed(t, "qemu-utils", "qemu-img", "qemu-io")
	content, exports := interopExports(t)
	addr := interopServe(t, &nbd.Server{Exports: exports})
	dir := t.TempDir()
	plain, damaged := filepath.Join(dir, "plain"), filepath.Join(dir, "damaged")
	require.NoError(t, os.WriteFile(plain, content, 0o600))
	other := bytes.Clone(content)
	other[len(other)-1]++
	require.NoError(t, os.WriteFile(damaged, other, 0o600))
	for _, export := range exports {
		t.Run(export.Name, func(t *testing.T) {
			url := "nbd://" + addr + "/" + export.Name
			out := filepath.Join(t.TempDir(), "converted")
			interopMust(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", url, out)
			interopSame(t, content, out)
			interopMust(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", url, plain)
			_, err := interopRun(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", url, damaged)
			require.Error(t, err, "the last byte differs")

			read := func(offset int) string {
				return string(interopMust(t, "qemu-io", "--read-only", "-f", "raw", "-c", fmt.Sprintf("read -P 0xa5 %d 64k", offset), url))
			}
			got := read(interopPattern)
			require.Contains(t, got, "read 65536/65536 bytes")
			require.NotContains(t, got, "Pattern verification failed")
			// It exits with zero after this one too in some versions.
			stdout, err := interopRun(t, "qemu-io", "--read-only", "-f", "raw", "-c", fmt.Sprintf("read -P 0xa5 %d 64k", interopPattern+512), url)
			require.True(t, err != nil || strings.Contains(string(stdout), "Pattern verification failed"), "%s", stdout)
			_, err = interopRun(t, "qemu-io", "-f", "raw", "-c", "write 0 512", url)
			require.Error(t, err, "the export is read-only")
		})
	}
}

// TestInteropFio has fio write a file with checksums in it, and read the export
// of it.
func TestInteropFio(t *testing.T) {
	interopNeed(t, "fio", "fio")
	path := filepath.Join(t.TempDir(), "fio")
	interopMust(t, "fio", "--name=write", "--filename="+path, "--size=8m", "--bs=4k", "--rw=write", "--ioengine=psync", "--verify=md5", "--do_verify=0", "--verify_state_save=0")
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	damaged := bytes.Clone(written)
	damaged[5<<20+2000]++
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	export := func(name string, r io.ReaderAt) nbd.Export {
		return nbd.Export{Name: name, Open: func(context.Context) (backend.Backend, error) {
			return nbd.ReaderAt(r, int64(len(written))), nil
		}}
	}
	addr := interopServe(t, &nbd.Server{Exports: []nbd.Export{
		export("file", file), export("memory", bytes.NewReader(written)), export("damaged", bytes.NewReader(damaged)),
	}})
	for _, name := range []string{"file", "memory", "damaged"} {
		_, err := interopRun(t, "fio", "--name=verify", "--ioengine=nbd", "--uri=nbd://"+addr+"/"+name, "--size=8m", "--bs=4k",
			"--rw=randread", "--iodepth=16", "--verify=md5", "--verify_fatal=1", "--verify_state_save=0")
		if name == "damaged" {
			require.Error(t, err, "a byte differs")
		} else {
			require.NoError(t, err)
		}
	}
}

func TestInteropTLS(t *testing.T) {
	interopNeed(t, "libnbd-bin", "nbdinfo", "nbdcopy")
	content, exports := interopExports(t)
	dir := t.TempDir()
	addr := interopServe(t, &nbd.Server{Exports: exports, TLS: interopCertificate(t, dir), RequireTLS: true})
	for _, export := range exports {
		t.Run(export.Name, func(t *testing.T) {
			url := "nbds://" + addr + "/" + export.Name + "?tls-certificates=" + dir
			var info nbdinfoReport
			require.NoError(t, json.Unmarshal(interopMust(t, "nbdinfo", "--json", url), &info))
			require.True(t, info.TLS)
			require.EqualValues(t, interopSize, info.Exports[0].Size)
			out := filepath.Join(t.TempDir(), "copy")
			interopMust(t, "nbdcopy", "--connections=4", url, out)
			interopSame(t, content, out)
		})
	}
	_, err := interopRun(t, "nbdinfo", "nbd://"+addr+"/extent")
	require.Error(t, err, "TLS is required")
	other := t.TempDir()
	interopCertificate(t, other)
	_, err = interopRun(t, "nbdinfo", "nbds://"+addr+"/extent?tls-certificates="+other)
	require.Error(t, err, "the certificate is not the one that this client knows")
}

// interopCertificate makes a certificate of 127.0.0.1 that vouches for itself,
// and writes it where libnbd looks for those of authorities.
func interopCertificate(t *testing.T, dir string) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca-cert.pem"), encoded, 0o600))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
