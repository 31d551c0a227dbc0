package rootfstest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pxekit/pxe/rootfs"
	"github.com/pxekit/pxe/rootfs/rootfstest"
)

// judge is a TB that keeps the errors.
type judge struct{ errors []string }

func (j *judge) Helper() {}
func (j *judge) Errorf(format string, args ...any) {
	j.errors = append(j.errors, fmt.Sprintf(format, args...))
}

func newToy() rootfs.RootFSTransport { return &toy{} }

func TestGoodTransports(t *testing.T) {
	rootfstest.Test(t, newToy, rootfstest.Schemes("toy"), rootfstest.Client(talk))
	rootfstest.Test(t, newToy, rootfstest.Schemes("toy")) // what can be seen without a client
	rootfstest.Test(t, func() rootfs.RootFSTransport { return rootfs.HTTP{} })
	rootfstest.Test(t, func() rootfs.RootFSTransport {
		return rootfs.NFS{Export: "192.0.2.9:/srv/rescue", Options: []string{"soft"}, Live: true}
	})
}

// caught runs Test on a broken transport, which must give a message with want.
func caught(t *testing.T, want string, create func() rootfs.RootFSTransport, options ...rootfstest.Option) {
	t.Helper()
	var j judge
	rootfstest.Test(&j, create, options...)
	require.NotEmpty(t, j.errors, "nobody noticed")
	for _, e := range j.errors {
		require.True(t, strings.HasPrefix(e, "rootfstest: "), e)
	}
	require.Contains(t, strings.Join(j.errors, "\n"), want)
}

// hasty is for transports that hang. It is too long for others, on a machine that
// is busy with parallel tests, to seem to.
const hasty = 3 * time.Second
