import Conversion
import FileAccess
import Foundation
import Glibc
import SeededRandom
import Testing

/// Headers that are changed at random are refused or read: nothing traps, hangs or takes much memory.
@Suite struct GGUFFuzzTests {
  /// More runs with `SHAREDPACK_FUZZ_RUNS`, other ones with `SHAREDPACK_FUZZ_SEED`.
  @Test func changedHeaders() throws {
    let environment = ProcessInfo.processInfo.environment
    let runs = environment["SHAREDPACK_FUZZ_RUNS"].flatMap(Int.init) ?? 20_000
    let seed = environment["SHAREDPACK_FUZZ_SEED"].flatMap(UInt64.init) ?? 0
    let seeds = try Self.headers()
    var random = SplitMix64(seed: seed, name: "gguf")
    var slowest = 0.0
    var readable = 0
    for _ in 0..<runs {
      var bytes = seeds[random.next(below: seeds.count)]
      for _ in 0...random.next(below: 4) { Self.change(&bytes, &random, other: seeds) }
      let start = Self.processorSeconds()
      // The numbers behind the header are not read here.
      if let checkpoint = try? Checkpoint(ggufHeader: bytes, fileByteCount: 1 << 20, path: "fuzz") {
        readable += 1
        for tensor in checkpoint.weights.files.flatMap(\.tensors) {
          precondition(tensor.byteRange.upperBound <= 1 << 20 && tensor.shape.allSatisfy { $0 > 0 })
        }
      }
      slowest = max(slowest, Self.processorSeconds() - start)
    }
    #expect(slowest < 1)
    #expect(readable > 0 && readable < runs)
    if runs > 20_000 {
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8).split(separator: "\n")
      let peak = status.first { $0.hasPrefix("VmHWM") } ?? ""
      print("\(runs) headers, \(readable) of them readable, the slowest in \(slowest) s of the processor; \(peak)")
    }
  }

  /// Of this thread: other programs may take any time.
  private static func processorSeconds() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  private static func change(_ bytes: inout [UInt8], _ random: inout SplitMix64, other: [[UInt8]]) {
    guard !bytes.isEmpty else { return }
    let place = random.next(below: bytes.count)
    switch random.next(below: 8) {
    case 0: bytes[place] ^= 1 << UInt8(random.next(below: 8))
    case 1: bytes[place] = UInt8(truncatingIfNeeded: random.next())
    case 2: bytes.removeSubrange(place...)
    case 3: bytes.removeSubrange(place..<min(place + 1 + random.next(below: 16), bytes.count))
    case 4: bytes.insert(contentsOf: bytes[place..<min(place + 1 + random.next(below: 64), bytes.count)], at: place)
    case 5, 6:
      // Numbers at which arithmetic goes wrong.
      let numbers: [UInt64] = [
        0, 1, 2, 8, 9, 32, 255, 256, 65536, 1 << 31, 1 << 32, 1 << 40, 1 << 60, 1 << 61, 1 << 62, 1 << 63,
        .max, .max - 1, .max >> 1, UInt64(bytes.count),
      ]
      let number = numbers[random.next(below: numbers.count)]
      for index in 0..<(random.next(below: 2) == 0 ? 4 : 8) where place + index < bytes.count {
        bytes[place + index] = UInt8(truncatingIfNeeded: number >> (UInt64(index) * 8))
      }
    default:
      let donor = other[random.next(below: other.count)]
      let start = random.next(below: donor.count)
      let part = donor[start..<min(start + 1 + random.next(below: 64), donor.count)]
      bytes.replaceSubrange(place..<min(place + part.count, bytes.count), with: part)
    }
  }

  /// Small headers with everything that is read.
  static func headers() throws -> [[UInt8]] {
    var file = TestGGUF(TestCheckpoint())
    // The fewest tensors that show all dimensions, types and offsets.
    file.tensors = Array(file.tensors.prefix(6))
    file.tensors[1].shape = [2, 2, 2]
    var result: [[UInt8]] = []
    func add(_ edit: (inout TestGGUF) -> Void) {
      var file = file
      edit(&file)
      let data = file.tensors.reduce(0) { $0 + $1.bytes.count }
      result.append(Array(file.bytes().dropLast(data)))
    }
    add { _ in }
    add { file in
      file["general.alignment"] = .uint32(8)
      file["general.license"] = .string("mit")
      file["llama.attention.head_count_kv"] = .array([.uint32(1), .uint32(1)])
      file["llama.rope.scaling.type"] = .string("yarn")
      file["llama.rope.scaling.factor"] = .float32(2)
      file["split.count"] = .uint16(1)
    }
    add { file in
      file.tensors = []
      file.addSentencePieces()
    }
    add { file in
      file.tensors = []
      file.addBytePieces()
    }
    return result
  }
}
