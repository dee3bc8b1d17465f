public import CanonicalJSON
public import FileAccess
import LlamaRuntime
import ModelPacks
public import SharedPack

/// The time and memory that the first token of an answer takes from the start of a program.
public struct OpeningReport: Sendable {
  /// Seconds to open the pack, all of it in the system's cache: median, smallest and largest.
  public let opening: BenchmarkResult.Spread
  /// Seconds from the open pack to the logits after the first token.
  public let firstToken: BenchmarkResult.Spread
  /// Bytes of memory that belong to the process alone after the first token, among them the touched part of the room
  /// for keys and values; nil where the system does not report them.
  public let privateByteCount: Int?
  /// Bytes reserved for keys and values.
  public let cacheByteCount: Int
  /// Bytes of the pack, which processes share.
  public let packByteCount: Int
  /// Whether the pack is read again for every token, and the layers that stay nevertheless.
  public let streams: Bool
  public let residentLayerCount: Int

  public var json: JSONValue {
    .members([
      "opening_seconds": .number(opening.median),
      "opening_smallest": .number(opening.smallest),
      "opening_largest": .number(opening.largest),
      "first_token_seconds": .number(firstToken.median),
      "private_bytes": privateByteCount.map { .integer($0) },
      "cache_bytes": .integer(cacheByteCount),
      "pack_bytes": .integer(packByteCount),
      "streams": .boolean(streams),
      "resident_layers": .integer(residentLayerCount),
    ])
  }

  /// Opens a pack and reads one token, several times.
  /// - Parameters:
  ///   - capacity: tokens that the running text may grow to, for the room of its keys and values.
  ///   - open: opens the pack.
  public static func measure(
    runs: Int, capacity: Int, open: () throws(Refusal) -> LanguageModel
  ) throws(Refusal) -> OpeningReport {
    var opening: [Double] = []
    var firstToken: [Double] = []
    // Once untimed, so that the parts that opening reads are cached.
    var model = try open()
    var report: (privateBytes: Int?, cacheBytes: Int) = (nil, 0)
    // Unmapping touched pages takes longer than mapping them: all models live until the last measurement.
    var earlier = [model]
    for _ in 0..<runs {
      let start = ContinuousClock.now
      model = try open()
      let opened = ContinuousClock.now
      earlier.append(model)
      let session = Session(
        model.runtime, capacity: min(capacity, model.runtime.window))
      _ = session.read(CollectionOfOne(0))
      firstToken.append((ContinuousClock.now - opened).seconds)
      opening.append((opened - start).seconds)
      report = (ProcessMemory.privateByteCount(), session.cacheByteCount)
    }
    return withExtendedLifetime(earlier) {
      OpeningReport(
        opening: BenchmarkResult.Spread(opening), firstToken: BenchmarkResult.Spread(firstToken),
        privateByteCount: report.privateBytes, cacheByteCount: report.cacheBytes, packByteCount: model.pack.byteCount,
        streams: model.runtime.residency.streams, residentLayerCount: model.runtime.residency.residentLayerCount)
    }
  }
}
