// Package nbd is a read-only NBD server.
package nbd

import (
	_ "github.com/pojntfx/go-nbd/pkg/backend"
	_ "github.com/pojntfx/go-nbd/pkg/protocol"
)
