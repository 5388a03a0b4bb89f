package governance.spark;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;
import org.apache.parquet.crypto.keytools.KmsClient;

/**
 * Parquet's port to a key service. The segment keys never enter this process: it gets the one key that
 * they wrap in the key material of one file, as from any other key service.
 */
public final class SegmentKeys implements KmsClient {
  private GrantSocket socket;

  @Override
  public void initialize(Configuration configuration, String instance, String url, String token) {
    socket = new GrantSocket(configuration);
  }

  @Override
  public String wrapKey(byte[] key, String masterKey) {
    throw new ParquetCryptoRuntimeException("versions are written by the governed pass, not by Spark's writer");
  }

  @Override
  public byte[] unwrapKey(String wrapped, String masterKey) {
    JsonNode answer =
        socket.ask(GrantSocket.wanting("unwrap").put("key_id", masterKey).put("wrapped", wrapped));
    try {
      return answer.get("key").binaryValue();
    } catch (java.io.IOException | NullPointerException e) {
      throw new ParquetCryptoRuntimeException("GOV-311: the answer for key " + masterKey + " cannot be used");
    }
  }
}
