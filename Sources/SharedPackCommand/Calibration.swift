import Conversion
import FileAccess
import LlamaRuntime
import ModelPacks
import PackedTiles
import SharedPack

/// A text that weights are rounded for.
struct Calibration {
  private let path: String
  private let text: [UInt8]
  /// For the provenance.
  let source: PackProvenance.Source

  /// - Throws: `Refusal`, as of `DocumentSource.text()`.
  init(text path: String) throws(Refusal) {
    self.path = path
    text = try DocumentSource(name: path, path: path).text()
    source = PackProvenance.Source(
      name: Directory.split(path).name, byteCount: text.count, digest: Digest256(of: text))
  }

  /// What the matrices of a checkpoint are multiplied with while it reads the text, from a pack of int8 that is gone
  /// afterwards.
  /// - Parameters:
  ///   - output: the pack to be made; the other one is beside it.
  ///   - groupSize: of that pack, at most 256.
  func read(
    directory: String, options: Converter.Options, output: String, groupSize: Int, progress: ProgressMode
  ) throws(Refusal) -> InputMoments {
    guard let blockColumns = ErrorFeedback.blockColumns(groupSize: groupSize) else {
      preconditionFailure("the options have been checked")
    }
    var options = options
    options.encoding = nil
    let place = Directory.split(output)
    let pack = "\(place.directory)/.\(place.name).calibration.partial"
    var bar = ProgressBar("Converting for calibration", unit: .bytes, mode: progress)
    _ = try Converter(directory: directory, options: options).run(output: pack) {
      bar.update($0.byteCount, of: $0.totalByteCount)
    }
    bar.finish()
    let model: LanguageModel
    do {
      defer { try? Directory.removeFile(pack) }
      model = try LanguageModel(opening: pack)
    }
    let tokens = try model.documentTokens(text, file: path)
    bar = ProgressBar("Calibrating", unit: .tokens, mode: progress)
    defer { bar.finish() }
    do {
      return try model.inputMoments(reading: tokens, blockColumns: blockColumns, file: path) { bar.update($0, of: $1) }
    } catch {
      // Nobody knows the pack that is gone; its weights are the checkpoint's.
      throw error.file == pack ? Refusal(error.name, file: directory, structure: error.structure, error.fault) : error
    }
  }
}
