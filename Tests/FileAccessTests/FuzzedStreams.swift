import FileAccess
import Fuzzing
import Testing

/// Lines of compressed files, whatever their bytes: see `FuzzedReader`.
@Suite struct FuzzedStreams {
  @Test func lines() throws {
    let workplace = try Workplace()
    let text = Array("one line\nand another one, and another one\n".utf8)
    let seeds = [text, ByteStreamTests.gzip, Compression.zstd.compress(text)]
    try FuzzedReader.run("lines", seeds: seeds) { bytes in
      guard let path = try? workplace.file("fuzzed", bytes), var lines = try? LineReader(path, lineLimit: 1 << 20)
      else {
        return
      }
      // A bomb is read piece by piece: the first 16 MiB will do.
      var byteCount = 0
      while byteCount < 1 << 24, let line = try? lines.next() { byteCount += line.count + 1 }
    }
  }
}
