package governance.spark;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;

/** Asks the process that began a read, over its Unix socket: a line of JSON each way. */
final class GrantSocket {
  static final String SOCKET = "governance.grant.socket";
  static final String GRANT = "governance.grant.name";

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int LONGEST = 1 << 16;

  private final String path;
  private final String grant;

  GrantSocket(Configuration configuration) {
    path = configuration.get(SOCKET);
    grant = configuration.get(GRANT);
    if (path == null || grant == null) {
      throw new ParquetCryptoRuntimeException("read governed versions through governance.access.read_with_spark");
    }
  }

  static ObjectNode wanting(String what) {
    return JSON.createObjectNode().put("want", what);
  }

  JsonNode ask(ObjectNode request) {
    request.put("grant", grant);
    JsonNode answer;
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(path));
      ByteBuffer line = ByteBuffer.wrap((JSON.writeValueAsString(request) + "\n").getBytes(StandardCharsets.UTF_8));
      while (line.hasRemaining()) {
        channel.write(line);
      }
      answer = JSON.readTree(received(channel));
    } catch (IOException e) {
      // Its message is left out: a parser quotes what it read, and that may be a key.
      throw new ParquetCryptoRuntimeException(
          "GOV-311: the process that began this read does not answer for its keys (" + e.getClass().getSimpleName() + ")");
    }
    JsonNode fault = answer == null ? null : answer.get("fault");
    if (fault != null) {
      throw new ParquetCryptoRuntimeException(fault.get(0).asText() + ": " + fault.get(1).asText());
    }
    return answer;
  }

  private static byte[] received(SocketChannel channel) throws IOException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    ByteBuffer part = ByteBuffer.allocate(4096);
    while (channel.read(part) >= 0) {
      all.write(part.array(), 0, part.position());
      part.clear();
      if (all.size() > LONGEST) {
        throw new IOException("too long an answer");
      }
    }
    return all.toByteArray();
  }
}
