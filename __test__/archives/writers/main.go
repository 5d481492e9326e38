// Packs the tree of the first argument into the archive of the second one, in the format of the third one.
package main

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	formats := map[string]tar.Format{"ustar": tar.FormatUSTAR, "pax": tar.FormatPAX, "gnu": tar.FormatGNU}
	out, err := os.Create(os.Args[2])
	check(err)
	writer := tar.NewWriter(out)
	check(filepath.Walk(os.Args[1], func(path string, info os.FileInfo, err error) error {
		check(err)
		name, err := filepath.Rel(os.Args[1], path)
		check(err)
		if name == "." {
			return nil
		}
		link, _ := os.Readlink(path)
		header, err := tar.FileInfoHeader(info, link)
		check(err)
		header.Name = filepath.ToSlash(name)
		if info.IsDir() {
			header.Name += "/"
		}
		header.Format = formats[os.Args[3]]
		header.AccessTime, header.ChangeTime = header.ModTime, header.ModTime
		if os.Args[3] == "ustar" {
			header.ModTime = header.ModTime.Truncate(1e9)
			header.AccessTime, header.ChangeTime = tar.Header{}.AccessTime, tar.Header{}.ChangeTime
		}
		check(writer.WriteHeader(header))
		if info.Mode().IsRegular() {
			file, err := os.Open(path)
			check(err)
			_, err = io.Copy(writer, file)
			check(err)
		}
		return nil
	}))
	check(writer.Close())
	check(out.Close())
}
