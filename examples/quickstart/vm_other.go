//go:build !linux

package main

import (
	"context"
	"errors"
)

// bootVM needs network namespaces.
func bootVM(context.Context, *screen, string) error {
	return errors.New("-vm needs Linux: run without it to boot a simulated machine")
}
