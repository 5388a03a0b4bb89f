package governance.spark;

import java.io.IOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Base64;
import java.util.HexFormat;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.crypto.FileDecryptionProperties;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;
import org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory;
import org.apache.parquet.hadoop.api.WriteSupport;

/**
 * Opens a file only as the manifest check saw it. Parquet encryption does not notice when one file and its
 * key material are put in the place of another's; its last bytes (footer tag, length, magic), which all its
 * pages are bound to, and the digest of its key material do.
 */
public final class SealedFiles extends PropertiesDrivenCryptoFactory {
  private static final int TAIL = 28;

  @Override
  public FileDecryptionProperties getFileDecryptionProperties(Configuration configuration, Path path) {
    GrantSocket socket = new GrantSocket(configuration);
    try {
      FileSystem files = path.getFileSystem(configuration);
      Path material = new Path(path.getParent(), "_KEY_MATERIAL_FOR_" + path.getName() + ".json");
      socket.ask(
          GrantSocket.wanting("open")
              .put("path", path.toUri().getPath())
              .put("tail", Base64.getEncoder().encodeToString(tail(files, path)))
              .put("material", "sha256:" + digest(files, material)));
    } catch (IOException e) {
      throw new ParquetCryptoRuntimeException("GOV-723: " + path.getName() + " or its key material cannot be read");
    }
    return super.getFileDecryptionProperties(configuration, path);
  }

  @Override
  public FileEncryptionProperties getFileEncryptionProperties(
      Configuration configuration, Path path, WriteSupport.WriteContext context) {
    throw new ParquetCryptoRuntimeException("versions are written by the governed pass, not by Spark's writer");
  }

  private static byte[] tail(FileSystem files, Path path) throws IOException {
    long size = files.getFileStatus(path).getLen();
    byte[] tail = new byte[(int) Math.min(TAIL, size)];
    try (FSDataInputStream stream = files.open(path)) {
      stream.readFully(size - tail.length, tail);
    }
    return tail;
  }

  private static String digest(FileSystem files, Path path) throws IOException {
    try (FSDataInputStream stream = files.open(path)) {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(stream.readAllBytes()));
    } catch (NoSuchAlgorithmException e) {
      throw new IOException(e);
    }
  }
}
