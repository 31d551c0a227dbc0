package bootcfg

import (
	"net/url"
	"time"
)

// systemMenu makes the menu of one system: the system itself, which is the
// default, and variants for the cases in which that does not come up.
type systemMenu struct {
	menu *Menu
	root *url.URL
	name string // of the system, as in "Boot SystemRescue"
	err  error
}

// defaultTimeout is that of the menus of live media.
const defaultTimeout = 10 * time.Second

// newSystemMenu returns a menu without entries. A timeout of zero is ten
// seconds, a negative one is for ever.
func newSystemMenu(name string, root *url.URL, timeout time.Duration) *systemMenu {
	switch {
	case timeout == 0:
		timeout = defaultTimeout
	case timeout < 0:
		timeout = 0
	}
	return &systemMenu{menu: &Menu{Title: name, Timeout: timeout}, root: root, name: name}
}

// add appends an entry. After an error it does nothing: the variants would say
// the same again.
func (b *systemMenu) add(name, title, help string, system func(root *url.URL) (Entry, error)) {
	if b.err != nil {
		return
	}
	e, err := system(b.root)
	if err != nil {
		b.err = err
		return
	}
	e.Name, e.Title, e.Help = name, "Boot "+b.name+title, help
	b.menu.Entries = append(b.menu.Entries, e)
	if b.menu.Default == "" {
		b.menu.Default = name
	}
}

// plain appends the system as its operator described it.
func (b *systemMenu) plain(name string, system func(*url.URL) (Entry, error)) {
	b.add(name, "", "Boots the system with the options that its operator chose.", system)
}

// copied appends a variant that is copied into memory.
func (b *systemMenu) copied(system func(*url.URL) (Entry, error)) {
	b.add("copytoram", " and copy it to RAM",
		"Copies the whole system into memory, which has to be large enough.\n"+
			"Afterwards it works without the server.", system)
}

// checked appends a variant that compares its checksum.
func (b *systemMenu) checked(system func(*url.URL) (Entry, error)) {
	b.add("checksum", " and verify its integrity",
		"Compares the system with its checksum before it is started.", system)
}

// serialConsoles are those of the variant that serial appends.
func serialConsoles() []string { return []string{"tty0", "ttyS0,115200n8"} }

// serial appends a variant with serialConsoles.
func (b *systemMenu) serial(system func(*url.URL) (Entry, error)) {
	b.add("serial", " with a serial console",
		"Uses the first serial port, at 115200 bits per second.", system)
}

// done appends further entries and the local disk, and returns the menu.
func (b *systemMenu) done(more ...Entry) (*Menu, error) {
	if b.err != nil {
		return nil, b.err
	}
	b.menu.Entries = append(append(b.menu.Entries, more...),
		Entry{Name: "local", Title: "Boot from the local disk", Local: true,
			Help: "Leaves the network, and boots what is installed on this machine."})
	if err := b.menu.Validate(); err != nil {
		return nil, err
	}
	return b.menu, nil
}
