import java.io.FileOutputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;

/** Packs the tree of the first argument into the archive of the second one, with long names as the third one says. */
public final class Pack {
    public static void main(String[] arguments) throws Exception {
        Path root = Path.of(arguments[0]);
        int mode = arguments[2].equals("gnu") ? TarArchiveOutputStream.LONGFILE_GNU : TarArchiveOutputStream.LONGFILE_POSIX;
        try (TarArchiveOutputStream out = new TarArchiveOutputStream(new FileOutputStream(arguments[1]))) {
            out.setLongFileMode(mode);
            out.setBigNumberMode(TarArchiveOutputStream.BIGNUMBER_POSIX);
            out.setAddPaxHeadersForNonAsciiNames(mode == TarArchiveOutputStream.LONGFILE_POSIX);
            List<Path> paths = Files.walk(root).sorted().skip(1).collect(Collectors.toList());
            for (Path path : paths) {
                String name = root.relativize(path).toString();
                TarArchiveEntry entry;
                if (Files.isSymbolicLink(path)) {
                    entry = new TarArchiveEntry(name, TarArchiveEntry.LF_SYMLINK);
                    entry.setLinkName(Files.readSymbolicLink(path).toString());
                } else if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
                    entry = new TarArchiveEntry(name + "/");
                } else {
                    entry = new TarArchiveEntry(name);
                    entry.setSize(Files.size(path));
                }
                out.putArchiveEntry(entry);
                if (entry.isFile() && !entry.isSymbolicLink()) Files.copy(path, out);
                out.closeArchiveEntry();
            }
        }
    }
}
