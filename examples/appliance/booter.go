package main

import (
	"bytes"
	"context"
	"net"
	"slices"
	"time"

	"github.com/pxekit/pxe"
	"github.com/pxekit/pxe/bootcfg"
)

// newBooter returns what decides what machines boot: SystemRescue, with our menu or
// the medium's own, and once only those that the flags name.
func (o *options) newBooter(ctx context.Context, system pxe.SystemRescue) (pxe.Booter, error) {
	var booter pxe.Booter = system
	if o.loader == "stock" {
		menu, err := bootcfg.SystemRescue(system).StockMenu()
		if err != nil {
			return nil, err
		}
		booter = pxe.BooterFunc(func(context.Context, *pxe.Machine) (*bootcfg.Menu, error) { return menu, nil })
	}
	if len(o.bootOnce) == 0 {
		return booter, nil
	}
	once := &pxe.BootOnce{Once: booter, Otherwise: pxe.BooterFunc(func(ctx context.Context, m *pxe.Machine) (*bootcfg.Menu, error) {
		if slices.ContainsFunc(o.bootOnce, func(hw net.HardwareAddr) bool { return bytes.Equal(hw, m.HardwareAddr) }) {
			return pxe.LocalDisk{}.Boot(ctx, m)
		}
		return booter.Boot(ctx, m)
	})}
	for _, hw := range o.bootOnce {
		if err := once.Mark(ctx, hw, time.Time{}); err != nil {
			return nil, err
		}
	}
	return once, nil
}
