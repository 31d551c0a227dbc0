// Package asset opens the files that machines boot from: out of a directory,
// an fs.FS, memory, an ISO 9660 image that is neither extracted nor mounted,
// or the places where distributions install their boot loaders, and layers of
// these.
//
// Everything is a [FileSource], one method, which an embedder implements just
// as well on its own storage:
//
//	iso, err := asset.OpenISO("systemrescue-12.00-amd64.iso")
//	if err != nil {
//		return err // an incomplete download is refused here, not at a machine's boot
//	}
//	defer iso.Close()
//	files := asset.Overlay(iso, asset.MediumLoaders(iso), asset.SystemLoaders())
//
// A source never leaves its root, whatever name a machine asks for, and its
// errors name what was asked for, never where it would lie on the host: they
// may be shown to a client.
package asset
