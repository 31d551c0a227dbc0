package dhcp

// syncDir does nothing: Windows has no such call, and NTFS writes names to a
// journal of its own.
func (osDisk) syncDir(string) error { return nil }
