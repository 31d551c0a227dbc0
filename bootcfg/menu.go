package bootcfg

import "time"

// Limits of a [Menu]. They are far above what fits on a screen, and keep what a
// loader has to read small.
const (
	MaxEntries = 64        // entries of a menu
	MaxInitrds = 16        // initrds of an entry
	MaxParams  = 256       // kernel parameters of an entry
	MaxText    = 4096      // bytes of one help text
	MaxFiles   = 64        // files of a menu
	MaxFile    = 64 << 20  // bytes of all files of a menu
	MaxTimeout = time.Hour // longest timeout; pxelinux counts no further
	// MaxCommandLine is the longest kernel command line, in bytes: x86 keeps
	// 2048 with the terminating NUL, and cuts off the rest without a word.
	MaxCommandLine = 2047
)

// Menu says what one machine may boot: Entries, of which a renderer makes the
// menu of a boot loader, or a Program. A menu of one entry is booted without
// asking, unless Prompt is set.
//
// All texts are shown by loaders that know ASCII only: anything else is refused.
type Menu struct {
	// Title stands above the menu; empty: "Boot menu". GRUB has no place for it.
	Title string
	// Prompt asks even if there is only one entry.
	Prompt bool
	// Timeout is how long the loader waits for a key before it boots the
	// default entry; zero waits for ever. It is rounded up to a tenth of a
	// second, for GRUB and U-Boot to a second.
	Timeout time.Duration
	// Default names the entry booted after the timeout or by Enter alone;
	// empty: the first.
	Default string
	// Entries are what can be booted, in the order shown. At least one, unless
	// there is a Program.
	Entries []Entry
	// Program is given to the machine in place of a boot loader with Entries;
	// Prompt, Timeout, Default and Help must be empty then. Renderers refuse such
	// a menu: there is nothing to render.
	Program *Program
	// Help are screens of text, each on a function key.
	Help []HelpText
	// Files are files made for this one machine (an answer file, an initrd with
	// a key), by name as in a FileSource. Kernel and Initrds may name them. The
	// renderers do not read them; who serves the bases serves them there.
	Files map[string][]byte
}

// Entry is one line of a menu: either a kernel or the local disk.
type Entry struct {
	// Name identifies the entry: what pxelinux lets the user type, unique in
	// the menu. It begins with a letter or digit and consists of letters,
	// digits, '-', '_' and '.', at most 32.
	Name string
	// Title is the line shown, at most 70 bytes; empty: the name.
	Title string
	// Help explains the entry; lines of at most 78 bytes, separated by "\n".
	Help string
	// Kernel is the name of the kernel, as in a FileSource (io/fs.ValidPath).
	Kernel string
	// Initrds are the names of the initial RAM disks, in the order in which the
	// kernel shall see them: microcode first.
	Initrds []string
	// Params are the kernel parameters, one each: no blanks and no quotes.
	// "initrd=" and, unless AnyInterface is set or it is among them, "BOOTIF="
	// are added by the renderers.
	Params []string
	// AnyInterface leaves out the BOOTIF parameter, which tells the booted
	// system from which network interface it was loaded. Set it where that
	// interface has another hardware address under Linux, as some docking
	// stations have: SystemRescue's initramfs stops if no interface has the
	// address.
	AnyInterface bool
	// Local boots the local disk instead of a kernel: Kernel, Initrds, Params
	// and RootFiles must be empty then.
	Local bool
	// RootFiles are the names of the files that make up the root file system,
	// as the booted system will fetch them. No renderer uses them: they tell
	// whoever watches the boot how far it is.
	RootFiles []string
}

// HelpText is a screen of text that the user calls up by a function key.
type HelpText struct {
	// Key is the function key, 1 (F1) to 12 (F12).
	Key int
	// Name is what the menu shows beside the key, at most 20 bytes.
	Name string
	// Text is what the key shows: lines of at most 78 bytes separated by "\n",
	// at most [MaxText] in all.
	Text string
}

// title returns the title that is shown for e.
func (e *Entry) title() string {
	if e.Title == "" {
		return e.Name
	}
	return e.Title
}

// title returns the title that is shown for m.
func (m *Menu) title() string {
	if m.Title == "" {
		return "Boot menu"
	}
	return m.Title
}

// standard returns the name of the default entry of a valid menu.
func (m *Menu) standard() string {
	if m.Default == "" {
		return m.Entries[0].Name
	}
	return m.Default
}

// asks tells whether the loader lets the user choose.
func (m *Menu) asks() bool { return m.Prompt || len(m.Entries) > 1 }
