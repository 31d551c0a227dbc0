package pxetest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// menuItem is an entry of a loader's menu.
type menuItem struct{ name, title string }

// ipxeEntryPrefix is what this module's iPXE scripts put before the names of
// entries, to keep them apart from other labels. Boot and Choose go without it, so
// that an entry has one name whatever the loader.
const ipxeEntryPrefix = "boot-"

func (i menuItem) entry() string { return strings.TrimPrefix(i.name, ipxeEntryPrefix) }

// pick is what happens at a menu: the person picks, or the timeout does. It
// returns the item's own name.
func (r *run) pick(items []menuItem, def string, timeout time.Duration) (string, error) {
	r.step(Step{Stage: StageMenu, Total: -1})
	var names []string
	for _, i := range items {
		names = append(names, i.entry())
	}
	name := def
	switch choice := r.m.Choose; {
	case choice != "":
		i := slices.IndexFunc(items, func(i menuItem) bool {
			return i.name == choice || i.entry() == choice || i.title == choice
		})
		if i < 0 {
			return "", fmt.Errorf("%w: the menu has no entry %q, but %q", ErrNoChoice, choice, names)
		}
		name = items[i].name
	case timeout <= 0:
		return "", fmt.Errorf("%w: the menu waits for a key for ever; its entries are %q: set Machine.Choose", ErrNoChoice, names)
	default:
		if err := sleep(r.ctx, timeout); err != nil {
			return "", err
		}
	}
	r.boot.Entry = menuItem{name: name}.entry()
	r.step(Step{Stage: StageMenu, Name: r.boot.Entry, Total: -1, Done: true})
	return name, nil
}
