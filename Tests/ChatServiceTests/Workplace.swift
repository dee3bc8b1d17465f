import ChatService
import Conversion
import FileAccess
import SharedPack
import TinyCheckpoint

/// A model of made-up numbers whose tokens are letters, and a place for stores.
final class Workplace {
  let path: String
  let model: LanguageModel

  /// - Parameters:
  ///   - window: tokens that the model was trained for.
  ///   - hasTrees: whether it reads documents as context trees.
  init(window: Int = 2048, hasTrees: Bool = false) throws {
    path = try Directory.temporary("sharedpack-service")
    try Directory.create("\(path)/checkpoint")
    try TinyCheckpoint.write(to: "\(path)/checkpoint", injectionPlace: hasTrees ? .bottom : nil, window: window)
    _ = try Converter(directory: "\(path)/checkpoint", options: Converter.Options()).run(output: "\(path)/model.spk")
    model = try LanguageModel(opening: "\(path)/model.spk", threadCount: 1)
  }

  func service(
    _ library: DocumentLibrary? = nil, parallel: Int = 8, queue: Int = 64, overflow: OverflowMemory? = nil
  ) -> ChatService {
    ChatService(
      AnswerEngine(model, limits: AnswerLimits(parallel: parallel, queue: queue)), library: library, modelName: "tiny",
      answerLimit: 8, overflow: overflow)
  }

  deinit { try? Directory.removeTree(path) }
}
